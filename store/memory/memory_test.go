package memory_test

import (
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"go.uber.org/goleak"

	"github.com/caddy-qlink/caddy-qlink/bill"
	"github.com/caddy-qlink/caddy-qlink/store/memory"
	"github.com/caddy-qlink/caddy-qlink/store/storetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestTheStoreKeepsItsPromises(t *testing.T) {
	storetest.Suite{
		Open: func(testing.TB, string) bill.Store { return memory.New() },
	}.Run(t)
}

func TestTheModuleIsAnOpener(t *testing.T) {
	info, err := caddy.GetModule("qlink.stores.memory")
	if err != nil {
		t.Fatal(err)
	}
	opener, ok := info.New().(bill.Opener)
	if !ok {
		t.Fatalf("%T is no bill.Opener", info.New())
	}
	if key, err := opener.Key(); err != nil || key != "memory" {
		t.Errorf("Key: %q, %v", key, err)
	}
	store, err := opener.Open(t.Context(), bill.Env{})
	if err != nil {
		t.Fatal(err)
	}
	if err := store.Close(); err != nil {
		t.Error(err)
	}
}

func TestTheCaddyfileTakesNoOptions(t *testing.T) {
	for input, ok := range map[string]bool{
		"memory":                   true,
		"memory {\n}":              true,
		"memory 5":                 false,
		"memory {\n\tpath /tmp\n}": false,
	} {
		err := new(memory.Store).UnmarshalCaddyfile(caddyfile.NewTestDispenser(input))
		if (err == nil) != ok {
			t.Errorf("%q: %v", input, err)
		}
	}
}
