package handlers

import (
	"net/http"
	"strconv"
	"strings"
)

// prefersHTML reports whether the client wants a page rather than JSON.
// Whoever does not say, or takes anything, is a program and gets JSON.
func prefersHTML(r *http.Request) bool {
	accept := strings.Join(r.Header.Values("Accept"), ",")
	page, data := preference(accept, "text", "html"), preference(accept, "application", "json")
	switch {
	case page.quality == 0:
		return false
	case page.quality != data.quality:
		return page.quality > data.quality
	case page.precision != data.precision:
		return page.precision > data.precision
	}
	return page.position < data.position
}

// wish is how much a client wants one media type.
type wish struct {
	quality   int // in thousandths; 0: not at all
	precision int // of the range that matches: 3 names the type, 1 is "*/*"
	position  int // of that range in the header
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
