package doctor

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Store is how the store is.
type Store struct {
	// Broken is what made it unfit for use, or nil.
	Broken error
	// ClosedSince is when checkouts were closed by a restore; zero: they are
	// open.
	ClosedSince time.Time
	OpenBills   int
	SizeBytes   uint64 // 0: not known

	FreeBytes    uint64
	FreeKnown    bool
	MinFreeSpace uint64 // below, there are no new checkouts; 0: no bound

	// Examined is whether the store can tell its risks.
	Examined bool
	Risks    []Risk

	// Directory is where it lies; "" where it lies in none.
	Directory string
}

// Risk is something that may lose what the store has confirmed.
type Risk struct {
	What   string
	Remedy string
}

// Backlog is what waits for a person.
type Backlog struct {
	Dead            uint64 // notifications that were given up
	Stuck           uint64 // bills
	Orphans         uint64 // signed payments of bills that nobody knows
	OldestPendingAt time.Time
}

// lateTelling is how old a notification may be that its shop has not taken.
const lateTelling = time.Hour

func (x *examination) examineStore(ctx context.Context, say say) {
	if x.Store != nil {
		s, err := x.Store(ctx)
		examineHealth(s, err, say)
		examineDisk(s, err, say)
		examineDirectory(s.Directory, say)
		examineDurability(s, say)
	}
	if x.Backlog != nil {
		x.examineBacklog(ctx, say)
	}
}

func examineHealth(s Store, err error, say say) {
	if err = errors.Join(err, s.Broken); err != nil {
		say(CheckStore, Failed, "the store cannot be used: "+quoted(err.Error()),
			"Look into the log for what came first. A full disk or a database that is gone heals by itself once that is mended; a damaged store is restored from a backup.")
		return
	}
	size := ""
	if s.SizeBytes > 0 {
		size = ", " + mib(s.SizeBytes) + " large"
	}
	if !s.ClosedSince.IsZero() {
		say(CheckStore, Warning, "checkouts are closed since "+s.ClosedSince.UTC().Format("2006-01-02 15:04 UTC")+", when the store was restored: orders paid since the backup would be payable again",
			"Once the orders since the backup are checked: caddy qlink reopen")
		return
	}
	say(CheckStore, OK, fmt.Sprintf("the store is open%s, with %d open bills", size, s.OpenBills), "")
}

func examineDurability(s Store, say say) {
	for _, risk := range s.Risks {
		say(CheckDurability, Warning, risk.What, risk.Remedy)
	}
	if s.Examined && len(s.Risks) == 0 {
		say(CheckDurability, OK, "the database keeps what it has confirmed", "")
	}
}

func examineDisk(s Store, err error, say say) {
	switch {
	case err != nil || !s.FreeKnown:
		say(CheckDisk, Skipped, "the store does not tell how much is free where it writes", "")
	case s.MinFreeSpace > 0 && s.FreeBytes < s.MinFreeSpace:
		say(CheckDisk, Failed, fmt.Sprintf("%s are free, less than min_free_space (%s): there are no new checkouts", mib(s.FreeBytes), mib(s.MinFreeSpace)),
			"Make room on the store's disk, or move the store to a larger one.")
	case s.FreeBytes < 2*s.MinFreeSpace:
		say(CheckDisk, Warning, fmt.Sprintf("%s are free; below min_free_space (%s) there will be no new checkouts", mib(s.FreeBytes), mib(s.MinFreeSpace)),
			"Make room on the store's disk soon.")
	default:
		say(CheckDisk, OK, mib(s.FreeBytes)+" are free where the store writes", "")
	}
}

func (x *examination) examineBacklog(ctx context.Context, say say) {
	b, err := x.Backlog(ctx)
	if err != nil {
		say(CheckBacklog, Skipped, "cannot be counted: "+quoted(err.Error()), "")
		return
	}
	found := false
	complain := func(n uint64, finding, remedy string) {
		if n > 0 {
			found = true
			say(CheckBacklog, Warning, fmt.Sprintf(finding, n), remedy)
		}
	}
	complain(b.Dead, "notifications that were given up: %d; their shops do not know how these bills ended", "Mend the shop, then: caddy qlink redeliver --failed --since <time>")
	complain(b.Stuck, "bills that do not get on by themselves: %d", "Look at each: caddy qlink bills --stuck, then show, refresh, cancel or resolve.")
	complain(b.Orphans, "payments reported by QLink for bills that this store does not know: %d", "Look at each: caddy qlink orphans; find out where that bill was made, then resolve it.")
	if age := x.Now().Sub(b.OldestPendingAt); !b.OldestPendingAt.IsZero() && age > lateTelling {
		found = true
		say(CheckBacklog, Warning, "a shop has not taken a notification for "+rough(age), "See which, and why: caddy qlink notifications --state pending")
	}
	if !found {
		say(CheckBacklog, OK, "nothing waits for a person", "")
	}
}
