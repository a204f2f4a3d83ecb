//go:build linux

package postgres

import (
	"strings"
	"testing"

	"github.com/caddy-qlink/caddy-qlink/store/postgres/postgrestest"
)

func TestTheRisksAroundTheDatabaseAreNamed(t *testing.T) {
	t.Parallel()
	primary := postgrestest.Start(t)
	standby := primary.Standby()
	s := openNode(t, configured(t, postgrestest.Failover(primary, standby), "qlink"))
	want := func(words ...string) {
		t.Helper()
		risks, err := s.Risks(t.Context())
		if err != nil || len(risks) != len(words) {
			t.Fatalf("%v, %v; want %q", risks, err, words)
		}
		for i, risk := range risks {
			if !strings.Contains(risk.What, words[i]) || risk.Remedy == "" {
				t.Errorf("%v, want %q", risk, words[i])
			}
		}
	}
	want()
	primary.Set("synchronous_standby_names", "")
	eventuallyRisks := func(n int) {
		t.Helper()
		eventually(t, "the setting counts", patience, func() bool {
			risks, err := s.Risks(t.Context())
			return err == nil && len(risks) == n
		})
	}
	eventuallyRisks(1)
	want("do not wait for the standby")
	primary.Set("fsync", "off")
	primary.Set("full_page_writes", "off")
	eventuallyRisks(3)
	want("fsync is off", "full_page_writes is off", "do not wait for the standby")
}
