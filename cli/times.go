package cli

import (
	"strings"
	"time"
)

// span reads a duration above zero, days ("7d") included.
func span(flag, text string) (time.Duration, error) {
	d, err := time.ParseDuration(text)
	if days, ok := strings.CutSuffix(text, "d"); ok {
		d, err = time.ParseDuration(days + "h")
		d *= 24
	}
	if err != nil || d <= 0 {
		return 0, misuse("--%s %q is no duration above zero, such as 30m, 24h or 7d", flag, text)
	}
	return d, nil
}

// instant reads a time as the admin API takes it: RFC 3339, a date (UTC), or,
// beyond that, how long ago. "" stays "".
func instant(flag, text string, now time.Time) (string, error) {
	if text == "" {
		return "", nil
	}
	for _, layout := range []string{time.RFC3339, time.DateOnly} {
		if _, err := time.Parse(layout, text); err == nil {
			return text, nil
		}
	}
	ago, err := span(flag, text)
	if err != nil {
		return "", misuse("--%s %q is no time: 2026-11-26, 2026-11-26T08:00:00Z, or how long ago (24h, 7d)", flag, text)
	}
	return now.Add(-ago).UTC().Format(time.RFC3339Nano), nil
}
