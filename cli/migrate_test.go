package cli_test

import (
	"context"
	"errors"
	"testing"

	"github.com/caddy-qlink/caddy-qlink/cli"
)

// removal plays stores between which bills are carried.
type removal struct {
	asked []cli.Migration
	did   string
	fails error
}

var carried = cli.Moved{From: "/old", To: "/new", Bills: 7, Orders: 6, Notifications: 5, Answers: 4, Orphans: 3, Checksum: "c0ffee"}

func (r *removal) do(what string, m cli.Migration) (cli.Moved, error) {
	r.did, r.asked = what, append(r.asked, m)
	return carried, r.fails
}

func (r *removal) Move(_ context.Context, m cli.Migration, told func(string, int64, int64)) (cli.Moved, error) {
	told("Carrying over", 1, 2)
	told("Verifying", 1, 2)
	return r.do("move", m)
}

func (r *removal) GiveUp(_ context.Context, m cli.Migration) (cli.Moved, error) {
	return r.do("give up", m)
}

func (r *removal) TakeBack(_ context.Context, m cli.Migration) (cli.Moved, error) {
	moved, err := r.do("take back", m)
	moved.CheckoutsClosed = m.Force
	return moved, err
}

func TestAMigrationSaysWhatWasCarriedWhere(t *testing.T) {
	r := new(removal)
	host := hostAt("http://127.0.0.1:1")
	host.Mover = r
	run := func(args ...string) result {
		return runHost(t.Context(), host, nil, "", append([]string{"migrate-store", "--from", "a", "--adapter", "yaml"}, args...)...)
	}
	out := run("--to", "b").has(t, 0, "/new holds what /old holds: 7 bills, 6 orders, 5 notifications", "Checksum c0ffee.")
	if out.err != "Start Caddy with b. /old does not serve any more; keep it until you are sure.\n" {
		t.Errorf("stderr %q", out.err)
	}
	if r.did != "move" || r.asked[0] != (cli.Migration{From: "a", To: "b", Adapter: "yaml"}) {
		t.Errorf("%s, %+v", r.did, r.asked)
	}
	run("--to", "b", "--json").want(t, 0, `{"from":"/old","to":"/new","bills":7,"orders":6,"notifications":5,"answers":4,"orphans":3,"checksum":"c0ffee"}`+"\n")
	run("--to", "b", "--dry-run").want(t, 0, "Would carry 7 bills and 5 notifications from /old into /new.\n")
	run("--to", "b", "--dry-run", "--json").has(t, 0, `{"dryRun":true,"would":"migrate","from":"/old"`)
	run("--to", "b", "--give-up").want(t, 0, "/new is empty, and /old serves again.\n")
	run("--to", "b", "--give-up", "--dry-run").want(t, 0, "Would delete what /new holds; /old would serve again.\n")
	run("--take-back").want(t, 0, "/old serves again.\n")
	run("--take-back", "--force").want(t, 0, "/old serves again, its checkouts closed until 'caddy qlink reopen'.\n")
	if last := r.asked[len(r.asked)-1]; r.did != "take back" || !last.Force || last.To != "" {
		t.Errorf("%s, %+v", r.did, last)
	}
}

func TestAMigrationThatFailsExitsByHowItFailed(t *testing.T) {
	host := hostAt("http://127.0.0.1:1")
	for code, err := range map[int]error{1: errors.New("/new is not empty"), 4: cli.Fault(errors.New("they differ"))} {
		host.Mover = &removal{fails: err}
		for _, args := range [][]string{{"--to", "b"}, {"--to", "b", "--give-up"}, {"--take-back"}, {"--to", "b", "--json"}} {
			runHost(t.Context(), host, nil, "", append([]string{"migrate-store", "--from", "a"}, args...)...).complains(t, code, err.Error())
		}
	}
}

func TestAMigrationWantsToKnowFromWhereToWhere(t *testing.T) {
	r := new(removal)
	host := hostAt("http://127.0.0.1:1")
	host.Mover = r
	for words, args := range map[string][]string{
		"--from is missing":      {"--to", "b"},
		"--to is missing":        {"--from", "a"},
		"it takes no arguments":  {"a", "b"},
		"give it up, or take":    {"--from", "a", "--to", "b", "--give-up", "--take-back"},
		"--force goes with":      {"--from", "a", "--to", "b", "--force"},
		"leave --to out":         {"--from", "a", "--to", "b", "--take-back"},
		"unknown flag: --tobias": {"--tobias"},
	} {
		runHost(t.Context(), host, nil, "", append([]string{"migrate-store"}, args...)...).complains(t, 2, words)
	}
	if r.did != "" {
		t.Errorf("did %s", r.did)
	}
	offline(t, "", "migrate-store", "--from", "a", "--to", "b").complains(t, 1, "no store that bills can be carried from")
}
