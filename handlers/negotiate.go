package handlers

import (
	"net/http"
	"strconv"
	"strings"
)

// prefersHTML reports whether the client wants a page rather than JSON.
// Whoever does not say, or takes anything, is a program and gets JSON.
func prefersHTML(r *http.Request) bool {
	accept := acceptOf(r)
	return preference(accept, "text", "html").before(preference(accept, "application", "json"))
}

// prefersEvents reports whether the client wants an event stream rather than
// JSON. It has to name it: who takes any text expects an answer that ends.
func prefersEvents(r *http.Request) bool {
	accept := acceptOf(r)
	events := preference(accept, "text", "event-stream")
	return events.precision == 3 && events.before(preference(accept, "application", "json"))
}

func acceptOf(r *http.Request) string { return strings.Join(r.Header.Values("Accept"), ",") }

// wish is how much a client wants one media type.
type wish struct {
	quality   int // in thousandths; 0: not at all
	precision int // of the range that matches: 3 names the type, 1 is "*/*"
	position  int // of that range in the header
}

// before reports whether w is wanted, and rather than other.
func (w wish) before(other wish) bool {
	switch {
	case w.quality == 0:
		return false
	case w.quality != other.quality:
		return w.quality > other.quality
	case w.precision != other.precision:
		return w.precision > other.precision
	}
	return w.position < other.position
}

// preference finds the most precise range of an Accept header that matches a
// type (RFC 9110, section 12.5.1).
func preference(accept, mainType, subType string) wish {
	var best wish
	position := 0
	for element := range strings.SplitSeq(accept, ",") {
		position++
		name, parameters, _ := strings.Cut(element, ";")
		precision := precisionOf(strings.TrimSpace(name), mainType, subType)
		if precision > best.precision {
			best = wish{quality: quality(parameters), precision: precision, position: position}
		}
	}
	return best
}

func precisionOf(name, mainType, subType string) int {
	switch {
	case strings.EqualFold(name, mainType+"/"+subType):
		return 3
	case strings.EqualFold(name, mainType+"/*"):
		return 2
	case name == "*/*":
		return 1
	}
	return 0
}

// quality reads the parameter q in thousandths; what cannot be read is
// taken as if it were not there.
func quality(parameters string) int {
	for parameter := range strings.SplitSeq(parameters, ";") {
		name, value, _ := strings.Cut(parameter, "=")
		if !strings.EqualFold(strings.TrimSpace(name), "q") {
			continue
		}
		if thousandths, ok := parseQuality(strings.TrimSpace(value)); ok {
			return thousandths
		}
	}
	return 1000
}

// parseQuality reads 0 to 1 with at most three decimals.
func parseQuality(text string) (thousandths int, ok bool) {
	whole, fraction, _ := strings.Cut(text, ".")
	if whole != "0" && whole != "1" || len(fraction) > 3 {
		return 0, false
	}
	n, err := strconv.ParseUint(whole+fraction+strings.Repeat("0", 3-len(fraction)), 10, 32)
	if err != nil || n > 1000 {
		return 0, false
	}
	return int(n), true
}
