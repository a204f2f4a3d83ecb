package badger

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"go.uber.org/zap"

	"github.com/caddy-qlink/caddy-qlink/bill"
)

// helperDir names the folder that a copy of the test binary, started by a
// test, is to work in.
const helperDir = "QLINK_TEST_STORE_DIR"

func TestMain(m *testing.M) {
	if dir := os.Getenv(helperDir); dir != "" {
		os.Exit(help(dir))
	}
	goleak.VerifyTestMain(m)
}

// help is the other process: it commits bill after bill, and says of each that
// it was acknowledged, until its input ends or it is killed.
func help(dir string) int {
	s, err := openResolved(dir)
	if err != nil {
		fmt.Println(err)
		return 1
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_, _ = io.Copy(io.Discard, os.Stdin)
	}()
	for n := 0; ; n++ {
		select {
		case <-ended:
			return 0
		default:
		}
		if err := s.Commit(ctx, change(strconv.Itoa(n))); err != nil {
			fmt.Println(err)
			return 1
		}
		fmt.Println(n)
	}
}

// startHelper starts the other process and returns when it has committed its
// first bill. The reader gives its acknowledgements from there on.
func startHelper(t *testing.T, dir string) (*exec.Cmd, *bufio.Scanner) {
	t.Helper()
	binary, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), binary)
	cmd.Env = append(os.Environ(), helperDir+"="+dir)
	cmd.Stderr = os.Stderr
	if _, err := cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	lines := bufio.NewScanner(stdout)
	if !lines.Scan() || lines.Text() != "0" {
		t.Fatalf("the helper said %q", lines.Text())
	}
	return cmd, lines
}

func openResolved(dir string) (*store, error) {
	dir, err := resolve(dir)
	if err != nil {
		return nil, err
	}
	return open(ctx, dir, bill.Env{Logger: zap.NewNop})
}

func mustOpen(t testing.TB, dir string) *store {
	t.Helper()
	s, err := openResolved(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() }) // a test that closed it itself has looked at the error
	return s
}

func mustClose(t testing.TB, s *store) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Fatalf("Close: %v", err)
	}
}

// crashed copies the folder of a store that is open, and returns the copy. The
// witness is copied first: the whole is no snapshot, and a witness that is
// younger than the rest would rightly accuse it.
func crashed(t testing.TB, dir string) string {
	t.Helper()
	left := t.TempDir()
	names := []string{witnessName}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		if !strings.HasPrefix(entry.Name(), witnessName) {
			names = append(names, entry.Name())
		}
	}
	for _, name := range names {
		content, err := os.ReadFile(filepath.Join(dir, name))
		if name == witnessName && os.IsNotExist(err) {
			continue // not written yet
		}
		if err == nil {
			err = os.WriteFile(filepath.Join(left, name), content, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return left
}

var noon = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

// change is what the creation of a bill writes, of an ordinary size.
func change(id string) bill.Change {
	b := bill.Bill{
		ID: id, Ledger: "0123456789abcdef0123456789abcdef", Account: "default", Shop: "default", OrderCode: "O" + id,
		Attempt: 1, Status: bill.Created, Amount: "15000", Currency: "IDR", Country: "ID", PayType: "ONLINE",
		PayChannel: "QRIS", CreatedAt: noon, UpdatedAt: noon, ExpiresAt: noon.Add(time.Hour), Due: noon.Add(time.Second),
		Version: 1, Revision: 1,
	}
	record, _ := bill.OrderRecord{Key: b.OrderKey(), Revision: 1}.With(b)
	return bill.Change{
		Order: &record,
		Bills: []bill.BillChange{{
			Bill:    b,
			Details: &bill.Details{Description: "Two shirts", Items: []bill.Item{{SKUCode: "SKU01", SKUName: "Shirt", Quantity: "2"}}},
			Events:  []bill.Event{{Kind: bill.EventCreated, At: noon, Source: bill.ByShop, To: bill.Created, Version: 1}},
		}},
	}
}
