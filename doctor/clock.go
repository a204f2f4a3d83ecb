package doctor

import (
	"context"
	"fmt"
	"time"

	"github.com/caddy-qlink/caddy-qlink/bill"
)

// How far clocks may be apart: Standard Webhooks has shops refuse what is five
// minutes off, and so do the signed endpoints by default.
const (
	clockFails = 5 * time.Minute
	clockWarns = 30 * time.Second
)

// examineClock compares this machine's clock with that of somebody who told
// the time.
func examineClock(s sight, whose string, say say) {
	if !s.clock {
		say(CheckClock, Skipped, "cannot be compared with "+whose+", which did not tell the time", "")
		return
	}
	status, remedy := OK, ""
	if off := s.ahead.Abs(); off > clockWarns {
		status = Warning
		if off > clockFails {
			status = Failed
		}
		remedy = "Have this machine's clock set by the network (timedatectl set-ntp true). If it is right, the other one is wrong: tell them. Signatures are refused when clocks are five minutes apart."
	}
	direction := "ahead of"
	if s.ahead < 0 {
		direction = "behind"
	}
	finding := fmt.Sprintf("this machine's clock is %s %s %s", rough(s.ahead), direction, whose)
	if s.ahead.Abs() <= 2*time.Second { // the header has whole seconds
		finding = "this machine's clock agrees with " + whose
	}
	say(CheckClock, status, finding, remedy)
}

// zoneWindow is how far apart a bill's creation and its last change may be for
// its payment in between to tell the zone: offsets differ by half an hour, but
// for a handful, and clocks may be a few minutes off.
const (
	zoneWindow = 20 * time.Minute
	zoneSlack  = 5 * time.Minute
)

// examineTimeZone looks at the newest payment whose time is known: it cannot
// have been made before the bill, nor after we heard of it. The gateway's
// times name no zone, so nothing else tells.
func (x *examination) examineTimeZone(ctx context.Context, a Account, say say) {
	now := x.Now().In(a.Gateway.Location)
	set := fmt.Sprintf("time_zone is %s (%s, where it is %s now)", a.Gateway.Location, now.Format("UTC-07:00"), now.Format("15:04"))
	b, ok := x.telling(ctx, a)
	if !ok {
		say(CheckTimeZone, Skipped, set+"; no payment tells yet whether that is the gateway's",
			"After the first payment compare its time in `caddy qlink show` with the clock, or run the doctor again.")
		return
	}
	early, late := b.CreatedAt.Sub(b.PayTime), b.PayTime.Sub(b.UpdatedAt)
	if early <= zoneSlack && late <= zoneSlack {
		say(CheckTimeZone, OK, set+"; the payment of bill "+b.ID+" agrees with it", "")
		return
	}
	shift := late
	if early > zoneSlack {
		shift = -early
	}
	fits := now.In(time.FixedZone("", offset(now)+int(shift.Round(30*time.Minute)/time.Second)))
	say(CheckTimeZone, Failed, fmt.Sprintf("%s, but bill %s would have been paid %s; the gateway's times fit %s",
		set, b.ID, impossible(early, late), fits.Format("UTC-07:00")),
		"Set time_zone to a zone with that offset. Where it was changed since that payment, run the doctor again after the next one.")
}

func offset(t time.Time) int {
	_, seconds := t.Zone()
	return seconds
}

func impossible(early, late time.Duration) string {
	if early > late {
		return rough(early) + " before it was made"
	}
	return rough(late) + " after QLink told of it"
}

// telling returns the newest paid bill that can tell the zone.
func (x *examination) telling(ctx context.Context, a Account) (bill.Bill, bool) {
	if x.Paid == nil {
		return bill.Bill{}, false
	}
	paid, err := x.Paid(ctx, a.Name)
	if err != nil {
		return bill.Bill{}, false // the check of the store says why
	}
	for _, b := range paid {
		if !b.PayTime.IsZero() && b.UpdatedAt.Sub(b.CreatedAt) <= zoneWindow {
			return b, true
		}
	}
	return bill.Bill{}, false
}
