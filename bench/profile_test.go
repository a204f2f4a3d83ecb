package bench

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

const profileSeconds = 5

// profile leaves a profile of the site under a load beside the book: see
// scripts/bench.
func (c *caddy) profile(t *testing.T, name string, under load) {
	t.Helper()
	if *benchWrite == "" {
		return
	}
	var profiling sync.WaitGroup
	profiling.Go(func() {
		resp, err := http.Get(fmt.Sprintf("http://%s/debug/pprof/profile?seconds=%d", c.admin, profileSeconds-1))
		if err != nil {
			t.Error(err)
			return
		}
		defer resp.Body.Close()
		profile, err := io.ReadAll(resp.Body)
		if err == nil {
			err = os.WriteFile(filepath.Join(*benchWrite, name+".pprof"), profile, 0o600)
		}
		if err != nil {
			t.Error(err)
		}
	})
	under.length = profileSeconds * time.Second
	under.put(t)
	profiling.Wait()
}
