package badger

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	badgerdb "github.com/dgraph-io/badger/v4"
	"github.com/google/go-cmp/cmp"
	"go.uber.org/zap"

	"github.com/caddy-qlink/caddy-qlink/bill"
	"github.com/caddy-qlink/caddy-qlink/store/internal/codec"
)

var writeKept = flag.Bool("stores.write", false, "write down what lies in kept stores whose records were not written down yet")

// keptStores are those that each version has left: see testdata/stores/README.md.
func keptStores(t *testing.T) (names []string) {
	t.Helper()
	archives, err := filepath.Glob("testdata/stores/*.tar.gz")
	if err != nil || len(archives) == 0 {
		t.Fatal(archives, err)
	}
	for _, archive := range archives {
		names = append(names, strings.TrimSuffix(archive, ".tar.gz"))
	}
	return names
}

// unpacked returns a folder with a kept store.
func unpacked(t *testing.T, name string) (dir string) {
	t.Helper()
	dir = t.TempDir()
	if out, err := exec.CommandContext(t.Context(), "tar", "--extract", "--file="+name+".tar.gz", "--directory="+dir).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", name, err, out)
	}
	return dir
}

// words returns a record of the domain as JSON: as it lies there, where it lies
// there as JSON, so that it says what the version meant that wrote it.
func words(item *badgerdb.Item) (text []byte, err error) {
	record, err := item.ValueCopy(nil)
	if err != nil || bytes.IndexByte(domain, item.Key()[0]) < 0 || record[0] != formatJSON {
		return readNow(item)
	}
	if err := verifyRecord(item.Key(), record); err != nil {
		return nil, err
	}
	return record[1 : len(record)-sumSize], nil
}

// recordsOf returns all that the domain has in a database, a line a record.
func recordsOf(t *testing.T, db *badgerdb.DB, words func(*badgerdb.Item) ([]byte, error)) map[string]string {
	t.Helper()
	records := make(map[string]string)
	err := db.View(func(txn *badgerdb.Txn) error {
		it := iterate(txn, nil)
		defer it.Close()
		for it.Rewind(); it.Valid(); it.Next() {
			text, err := words(it.Item())
			if err != nil {
				return err
			}
			if text != nil {
				records[fmt.Sprintf("%q", it.Item().Key())] = string(text)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return records
}

// writeDown keeps what a store held, before any later version has opened it.
func writeDown(t *testing.T, name string) {
	t.Helper()
	db, err := openDatabase(databaseOptions(unpacked(t, name), zap.NewNop))
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.MarshalIndent(recordsOf(t, db, words), "", "\t")
	if err := errors.Join(err, db.Close(), os.WriteFile(name+".records.json", append(text, '\n'), 0o600)); err != nil {
		t.Fatal(err)
	}
}

func writtenDown(t *testing.T, name string) (records map[string]string) {
	t.Helper()
	text, err := os.ReadFile(name + ".records.json")
	if err == nil {
		err = json.Unmarshal(text, &records)
	}
	if err != nil {
		t.Fatal(err)
	}
	return records
}

// readNow is what this version makes of a record, as JSON.
func readNow(item *badgerdb.Item) ([]byte, error) {
	if bytes.IndexByte(domain, item.Key()[0]) < 0 {
		return nil, nil
	}
	record, err := asJSON(item)
	if err != nil {
		return nil, err
	}
	return record[1 : len(record)-sumSize], nil
}

func TestEveryRecordOfEveryVersionIsReadFieldByField(t *testing.T) {
	for _, name := range keptStores(t) {
		if *writeKept && !exists(name+".records.json") {
			writeDown(t, name)
		}
		t.Run(filepath.Base(name), func(t *testing.T) {
			want := writtenDown(t, name)
			dir := unpacked(t, name)
			s := mustOpen(t, dir)
			wantRecords(t, want, recordsOf(t, s.db, readNow))
			whole := moveAll(t, s)
			mustClose(t, s)
			wantWhole(t, dir)

			s = mustOpen(t, dir)
			wantSame(t, whole, moveAll(t, s))
			file, _ := mustBackUp(t, s)
			again := mustOpen(t, mustRestore(t, file))
			wantSame(t, whole, moveAll(t, again))
			mustClose(t, again)
			mustClose(t, s)
		})
	}
}

// wantRecords compares what was written down with what is read: nothing may be
// missing, nothing may have come, but for what layOut adds, and what Badger drops
// when its time is over.
func wantRecords(t *testing.T, want, got map[string]string) {
	t.Helper()
	kinds := make(map[byte]int)
	for key, text := range want {
		kind := key[1] // behind the quote
		kinds[kind]++
		now, there := got[key]
		delete(got, key)
		if !there && kind == kindIdempotency && isOver(t, text) {
			continue
		}
		before, after := fieldsOf(t, text), fieldsOf(t, now)
		if kind == kindNotification {
			before["billCreatedAt"] = after["billCreatedAt"] // layOut's
		}
		if diff := cmp.Diff(before, after); diff != "" {
			t.Errorf("%s (-as it was written +as it is read):\n%s", key, diff)
		}
	}
	for key, text := range got {
		t.Errorf("nobody wrote %s: %s", key, text)
	}
	for _, kind := range domain {
		if kinds[kind] == 0 {
			t.Errorf("no record of kind %q is there: the test proves little", kind)
		}
	}
}

func isOver(t *testing.T, text string) bool {
	t.Helper()
	answer, err := codec.Unmarshal[bill.Idempotency]([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return time.Now().After(answer.ExpiresAt)
}

// fieldsOf returns what a record's JSON holds. That of an index of the domain is
// a text.
func fieldsOf(t *testing.T, text string) map[string]any {
	t.Helper()
	var v any
	if text != "" {
		if err := json.Unmarshal([]byte(text), &v); err != nil {
			t.Fatalf("%v: %s", err, text)
		}
	}
	if fields, ok := v.(map[string]any); ok {
		return fields
	}
	return map[string]any{"": v}
}
