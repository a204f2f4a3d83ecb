package qlink

import (
	"strconv"
	"strings"
	"time"
)

// TimeLayout is the form of every time the document shows. It has no zone: the zone is
// agreed upon, see Config.Location.
const TimeLayout = "2006-01-02 15:04:05"

// defaultLocation is that of Asia/Shanghai, where the gateway's operator is. China keeps
// one offset all year, so that no zone database is needed for the default.
var defaultLocation = time.FixedZone("Asia/Shanghai", 8*60*60)

func locationOr(loc *time.Location) *time.Location {
	if loc == nil {
		return defaultLocation
	}
	return loc
}

// parseTime reads a time the gateway sent and returns it in UTC, or the zero time where it
// is missing or unreadable: no time may stand in the way of a payment. Besides the
// document's layout it reads what Java libraries make of a date unless told otherwise:
// ISO 8601 with a zone, and seconds or milliseconds since 1970.
func parseTime(s string, loc *time.Location) time.Time {
	s = strings.TrimSpace(s)
	for _, layout := range []string{TimeLayout, time.RFC3339, "2006-01-02T15:04:05Z0700", "2006-01-02T15:04:05"} {
		if t, err := time.ParseInLocation(layout, s, locationOr(loc)); err == nil {
			return sensible(t.UTC())
		}
	}
	n, err := strconv.ParseInt(s, 10, 64)
	switch {
	case err != nil:
		return time.Time{}
	case len(s) == len("1754286321"):
		return time.Unix(n, 0).UTC()
	case len(s) == len("1754286321000"):
		return time.UnixMilli(n).UTC()
	default:
		return time.Time{}
	}
}

// sensible returns zero for a time that RFC 3339 cannot write: a zone may carry
// the first and the last of its years over the edge.
func sensible(t time.Time) time.Time {
	if t.Year() < 1 || t.Year() > 9999 {
		return time.Time{}
	}
	return t
}
