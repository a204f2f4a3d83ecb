package doctor_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/caddy-qlink/caddy-qlink/doctor"
)

func examineStore(t *testing.T, s doctor.Store, err error) findings {
	t.Helper()
	return examine(t, doctor.Config{Store: func(context.Context) (doctor.Store, error) { return s, err }})
}

func TestASoundStoreHasNoFault(t *testing.T) {
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	all := examineStore(t, doctor.Store{OpenBills: 3, SizeBytes: 50 << 20, FreeBytes: 4 << 30, FreeKnown: true, MinFreeSpace: 256 << 20, Directory: dir}, nil)
	all.want(t, doctor.CheckStore, doctor.OK, "50 MiB", "3 open bills")
	all.want(t, doctor.CheckDisk, doctor.OK, "4096 MiB")
	all.want(t, doctor.CheckDirectory, doctor.OK)
}

func TestAStoreThatCannotBeUsedIsAFault(t *testing.T) {
	all := examineStore(t, doctor.Store{}, errors.New("the database\nis gone"))
	all.want(t, doctor.CheckStore, doctor.Failed, "the database is gone")
	all.want(t, doctor.CheckDisk, doctor.Skipped)
	examineStore(t, doctor.Store{Broken: errors.New("write failed half-way")}, nil).
		want(t, doctor.CheckStore, doctor.Failed, "half-way")
}

func TestWhatMayLoseConfirmedPaymentsIsAWarning(t *testing.T) {
	examineStore(t, doctor.Store{Examined: true, Risks: []doctor.Risk{{What: "fsync is off", Remedy: "switch it on"}}}, nil).
		want(t, doctor.CheckDurability, doctor.Warning, "fsync is off", "switch it on")
	examineStore(t, doctor.Store{Examined: true}, nil).want(t, doctor.CheckDurability, doctor.OK)
	if all := examineStore(t, doctor.Store{}, nil).of(doctor.CheckDurability); len(all) > 0 {
		t.Errorf("of a store that cannot tell: %v", all)
	}
}

func TestARestoredStoreWaitsToBeReopened(t *testing.T) {
	examineStore(t, doctor.Store{ClosedSince: time.Date(2026, 11, 26, 1, 2, 0, 0, time.UTC)}, nil).
		want(t, doctor.CheckStore, doctor.Warning, "2026-11-26 01:02 UTC", "caddy qlink reopen")
}

func TestADiskThatFillsUpIsTold(t *testing.T) {
	for free, want := range map[uint64]doctor.Status{100 << 20: doctor.Failed, 300 << 20: doctor.Warning, 600 << 20: doctor.OK} {
		examineStore(t, doctor.Store{FreeBytes: free, FreeKnown: true, MinFreeSpace: 256 << 20}, nil).want(t, doctor.CheckDisk, want)
	}
}

func TestADirectoryThatOthersMayEnterIsTold(t *testing.T) {
	for mode, want := range map[os.FileMode]doctor.Status{0o700: doctor.OK, 0o750: doctor.Warning, 0o777: doctor.Failed} {
		dir := filepath.Join(t.TempDir(), "store")
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(dir, mode); err != nil {
			t.Fatal(err)
		}
		all := examineStore(t, doctor.Store{Directory: dir}, nil)
		all.want(t, doctor.CheckDirectory, want)
		if want != doctor.OK {
			all.want(t, doctor.CheckDirectory, want, "chmod 700 "+dir)
		}
	}
	examineStore(t, doctor.Store{Directory: filepath.Join(t.TempDir(), "gone")}, nil).want(t, doctor.CheckDirectory, doctor.Failed, "gone")
	if all := examineStore(t, doctor.Store{}, nil).of(doctor.CheckDirectory); len(all) > 0 {
		t.Errorf("%+v of a store that lies in no directory", all)
	}
}

func TestWhatWaitsForAPersonIsTold(t *testing.T) {
	for _, c := range []struct {
		backlog doctor.Backlog
		status  doctor.Status
		words   string
	}{
		{doctor.Backlog{}, doctor.OK, "nothing waits"},
		{doctor.Backlog{Dead: 2}, doctor.Warning, "redeliver --failed"},
		{doctor.Backlog{Stuck: 3}, doctor.Warning, "bills --stuck"},
		{doctor.Backlog{Orphans: 1}, doctor.Warning, "caddy qlink orphans"},
		{doctor.Backlog{OldestPendingAt: time.Now().Add(-2 * time.Hour)}, doctor.Warning, "has not taken a notification for 2h0m"},
		{doctor.Backlog{OldestPendingAt: time.Now().Add(-time.Minute)}, doctor.OK, ""},
	} {
		examine(t, doctor.Config{Backlog: func(context.Context) (doctor.Backlog, error) { return c.backlog, nil }}).
			want(t, doctor.CheckBacklog, c.status, c.words)
	}
	examine(t, doctor.Config{Backlog: func(context.Context) (doctor.Backlog, error) {
		return doctor.Backlog{}, errors.New("store unavailable")
	}}).
		want(t, doctor.CheckBacklog, doctor.Skipped, "store unavailable")
}
