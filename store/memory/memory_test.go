package memory_test

import (
	"sync"
	"sync/atomic"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"go.uber.org/goleak"

	"github.com/caddy-qlink/caddy-qlink/bill"
	"github.com/caddy-qlink/caddy-qlink/store/memory"
	"github.com/caddy-qlink/caddy-qlink/store/storetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// shared is a store that several have open, and that is closed by the last.
type shared struct {
	bill.Store
	bill.Leaser

	users *atomic.Int32
	once  *sync.Once
}

func share(store bill.Store, users *atomic.Int32) bill.Store {
	users.Add(1)
	return shared{store, store.(bill.Leaser), users, new(sync.Once)}
}

func (s shared) Close() error {
	last := true
	s.once.Do(func() { last = s.users.Add(-1) == 0 })
	if !last {
		return nil
	}
	return s.Store.Close()
}

func TestTheStoreKeepsItsPromises(t *testing.T) {
	var mu sync.Mutex
	byDir := make(map[string]shared)
	storetest.Suite{
		Open: func(_ testing.TB, dir string) bill.Store {
			mu.Lock()
			defer mu.Unlock()
			byDir[dir] = share(memory.New(), new(atomic.Int32)).(shared)
			return byDir[dir]
		},
		Peer: func(_ testing.TB, dir string) bill.Store {
			mu.Lock()
			defer mu.Unlock()
			return share(byDir[dir].Store, byDir[dir].users)
		},
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
