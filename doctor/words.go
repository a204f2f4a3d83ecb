package doctor

import (
	"fmt"
	"net"
	"net/url"
	"strings"
	"time"
	"unicode"
)

// maxWords bounds what is repeated of a stranger's words, in characters.
const maxWords = 200

// quoted repeats a stranger's words on one line, without what could disturb
// the lines around it.
func quoted(text string) string {
	text = strings.Map(func(r rune) rune {
		switch {
		case unicode.Is(unicode.Cf, r):
			return -1
		case unicode.IsControl(r) || unicode.IsSpace(r):
			return ' '
		}
		return r
	}, strings.ToValidUTF8(text, ""))
	text = strings.Join(strings.Fields(text), " ")
	if runes := []rune(text); len(runes) > maxWords {
		text = string(runes[:maxWords]) + "…"
	}
	return text
}

func hostOf(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return "?"
	}
	return u.Host
}

// onThisMachine tells a loopback address by its name. It asks no resolver.
func onThisMachine(address string) bool {
	u, err := url.Parse(address)
	if err != nil {
		return false
	}
	host := strings.TrimSuffix(strings.ToLower(u.Hostname()), ".")
	return host == "localhost" || strings.HasSuffix(host, ".localhost") || net.ParseIP(host).IsLoopback()
}

// outOfReach tells a literal address that nobody outside can call.
func outOfReach(address string) bool {
	u, err := url.Parse(address)
	if err != nil {
		return false
	}
	ip := net.ParseIP(u.Hostname())
	return onThisMachine(address) || ip != nil && (ip.IsPrivate() || ip.IsLinkLocalUnicast() || ip.IsUnspecified())
}

func plainHTTP(address string) bool { return strings.HasPrefix(strings.ToLower(address), "http:") }

// listed joins a few words, and counts those that are too many to read.
func listed(words []string) string {
	const most = 20
	if len(words) == 0 {
		return "nothing"
	}
	if len(words) > most {
		return fmt.Sprintf("%s and %d more", strings.Join(words[:most], ", "), len(words)-most)
	}
	return strings.Join(words, ", ")
}

// rough is a span without the digits that mean nothing.
func rough(d time.Duration) string {
	d = d.Abs()
	if d < time.Minute {
		return d.Round(100 * time.Millisecond).String()
	}
	text := d.Round(time.Second).String()
	if whole, ok := strings.CutSuffix(text, "m0s"); ok {
		return whole + "m"
	}
	return text
}

// mib is a size for people.
func mib(bytes uint64) string { return fmt.Sprintf("%d MiB", bytes>>20) }
