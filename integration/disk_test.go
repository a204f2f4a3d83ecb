package integration

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/caddy-qlink/caddy-qlink/sandbox"
)

const mib = 1 << 20

// diskConfig is a site whose store is in {{disk}} and takes no new orders with
// less than {{mark}} free; its gateway is another process, on another disk.
var diskConfig = strings.Replace(siteConfig, "\t\treconcile {", `		store badger {
			path {{disk}}/store
		}
		limits {
			min_free_space {{mark}}
		}
		reconcile {`, 1)

// newDiskWorld is a world whose store is below the given folder.
func newDiskWorld(t *testing.T, disk, mark string) *world {
	t.Helper()
	w := prepareWorld(t, plainSite, "")
	w.values["disk"], w.values["mark"] = disk, mark
	w.write(diskConfig, w.values)
	gateway := newCaddy(t, "{\n\tadmin {{admin}}\n\tauto_https off\n}\n"+gatewayConfig, w.values)
	gateway.start()
	w.start()
	return w
}

// reloadIdle reloads, and leaves no connection that the reload has closed to
// the next request.
func (w *world) reloadIdle() {
	w.t.Helper()
	if err := w.reload(); err != nil {
		w.t.Fatalf("reload: %v", err)
	}
	w.client.CloseIdleConnections()
}

// paid posts the gateway's word that the bill is paid.
func (w *world) paid(b billJSON) answer {
	w.t.Helper()
	return w.webhook(appSecret, fmt.Sprintf(`{"tradeUuid":%q,"billCode":%q,"orderCode":%q,"status":"SUCCESS"}`, b.ID, b.BillCode, b.OrderCode))
}

// wantNoOrders fails the test unless a checkout is refused before the shop is
// asked.
func (w *world) wantNoOrders(code string) {
	w.t.Helper()
	w.shop.lay(order(code, "15000"))
	before := w.shop.visits()
	if a := w.must("POST", "/checkout", "").want(w.t, 503); a.Header.Get("Retry-After") == "" {
		w.t.Error("it does not say when to come again")
	}
	if w.shop.visits() != before {
		w.t.Error("the shop created an order in vain")
	}
}

func TestBelowTheMarkThereAreNoNewOrdersAndWebhooksGoOn(t *testing.T) {
	w := newDiskWorld(t, t.TempDir(), "1MiB")
	b := w.checkout(order("O-1", "15000"), 201)
	w.values["mark"] = "1EiB"
	w.write(diskConfig, w.values)
	w.reloadIdle()
	w.wantNoOrders("O-2")
	w.paid(b).want(t, 200)
	if after := w.bill(b.ID); after.Status != "SUCCESS" {
		t.Errorf("%+v", after)
	}
	w.values["mark"] = "1MiB"
	w.write(diskConfig, w.values)
	w.reloadIdle()
	w.checkout(order("O-2", "15000"), 201)
}

// A disk that takes no more is played by a limit on the size of the process's
// files, which needs no privilege: the database cannot make its next table, and
// breaks in the middle of a commit.
func TestAStoreThatBreaksHealsWithoutARestartAndKeepsWhatItAcknowledged(t *testing.T) {
	w := newDiskWorld(t, t.TempDir(), "1MiB")
	kept := []billJSON{w.checkout(order("O-FIRST", "15000"), 201)}
	w.limitFiles(12 * mib) // a table's write-ahead log is to have 16
	var halfway []billJSON
	refused := 0
	for n := 0; refused == 0; n++ {
		if n == 1000 {
			t.Fatalf("%d large orders did not fill a table", n)
		}
		w.shop.lay(largeOrder(fmt.Sprintf("O-%d", n)))
		switch a := w.must("POST", "/checkout", ""); a.StatusCode {
		case http.StatusCreated:
			kept = append(kept, decode[billJSON](t, a.body))
		case http.StatusAccepted: // it broke between /apply and the answer's commit
			halfway = append(halfway, decode[billJSON](t, a.body))
		case http.StatusServiceUnavailable:
			refused++
		default:
			a.want(t, 503)
		}
	}
	w.wantNoOrders("O-MORE")
	w.paid(kept[0]).want(t, 503)
	w.reloadIdle()
	w.await("an answer of the new configuration", func() bool { // the old one's socket is closed with who still waits at it
		a, err := w.do(w.request("GET", "/qlink/health", ""))
		return err == nil && a.StatusCode == http.StatusServiceUnavailable
	})
	w.paid(kept[0]).want(t, 503)

	w.limitFiles(unix.RLIM_INFINITY)
	w.await("the store to heal", func() bool { return w.paid(kept[0]).StatusCode == http.StatusOK })
	kept = append(kept, w.checkout(order("O-MORE", "15000"), 201))
	w.wantOnePaid(kept)
	w.stop(syscall.SIGTERM)
	w.start()
	w.wantOnePaid(kept)
	// How to pay it is lost with the answer to /apply, and this gateway does not say
	// that twice: the bill is cancelled there, and has stayed the only one.
	for _, b := range halfway {
		after := w.awaitStatus(b.ID, "CANCELED")
		at := decode[sandbox.PaymentRecord](t, w.control("GET", "/payments/"+b.OrderCode, "").body) // the newest of the order
		if after.OrderCode != b.OrderCode || at.TradeUUID != b.ID || at.Status != "CANCELED" {
			t.Errorf("%+v, answered with 202 as %+v; at the gateway %+v", after, b, at)
		}
	}
}

// wantOnePaid fails the test unless every bill is there, the first one paid
// and the others waiting.
func (w *world) wantOnePaid(bills []billJSON) {
	w.t.Helper()
	w.awaitStatus(bills[0].ID, "SUCCESS")
	for _, b := range bills[1:] {
		if after := w.awaitStatus(b.ID, "WAIT"); after.OrderCode != b.OrderCode || after.Attempt != b.Attempt {
			w.t.Errorf("%+v, acknowledged as %+v", after, b)
		}
	}
}

// limitFiles bounds how large the process may make a file.
func (w *world) limitFiles(bytes uint64) {
	w.t.Helper()
	var limit unix.Rlimit
	err := unix.Prlimit(w.cmd.Process.Pid, unix.RLIMIT_FSIZE, nil, &limit)
	if err == nil {
		limit.Cur = min(bytes, limit.Max)
		err = unix.Prlimit(w.cmd.Process.Pid, unix.RLIMIT_FSIZE, &limit, nil)
	}
	if err != nil {
		w.t.Fatal(err)
	}
}

// largeOrder is an order near the size that is taken at most.
func largeOrder(code string) string {
	items := make([]string, 25)
	for i := range items {
		items[i] = fmt.Sprintf(`{"skuCode":"SKU%d","skuName":"shirt","quantity":1,"description":%q}`, i, strings.Repeat("x", 4000))
	}
	return fmt.Sprintf(`{"orderCode":%q,"amount":"15000","items":[%s]}`, code, strings.Join(items, ","))
}

func TestAProcessOutlivesAFullDisk(t *testing.T) {
	disk, err := newSmallDisk(t, 256*mib)
	if errors.Is(err, syscall.EPERM) && os.Getenv(ownNamespace) == "" {
		repeatInNamespace(t)
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	w := newDiskWorld(t, disk.dir, "160MiB")
	paid, open := w.checkout(order("O-PAID", "15000"), 201), w.checkout(order("O-OPEN", "15000"), 201)

	disk.leave(120 * mib)
	w.wantNoOrders("O-MORE")
	w.control("POST", "/payments/"+paid.ID+"/pay", "")
	w.awaitStatus(paid.ID, "SUCCESS")

	disk.leave(1 * mib)
	w.wantNoOrders("O-MORE")
	w.paid(open).want(t, 503)
	if b := w.bill(open.ID); b.Status != "WAIT" {
		t.Errorf("refused, and yet %+v", b)
	}
	w.reloadIdle()
	w.stop(syscall.SIGKILL)
	w.start() // with no room to open the store
	w.must("GET", "/", "").want(t, 200)
	w.paid(open).want(t, 503)

	disk.leave(250 * mib)
	w.await("the store to open", func() bool { return w.paid(open).StatusCode == http.StatusOK })
	for _, b := range []billJSON{paid, open} {
		if after := w.bill(b.ID); after.Status != "SUCCESS" {
			t.Errorf("%+v", after)
		}
	}
	w.checkout(order("O-MORE", "15000"), 201)
	prove(t, "disk full (small tmpfs)", "below the watermark, full, killed, started without room, freed",
		"0 crashes, 0 of 2 acknowledged bills lost")
}

// smallDisk is a folder with a filesystem of its own.
type smallDisk struct {
	t       *testing.T
	dir     string
	ballast *os.File
}

// newSmallDisk mounts a filesystem in memory, which needs the right to.
func newSmallDisk(t *testing.T, bytes int) (*smallDisk, error) {
	t.Helper()
	d := &smallDisk{t: t, dir: t.TempDir()}
	if err := unix.Mount("tmpfs", d.dir, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, fmt.Sprintf("size=%d", bytes)); err != nil {
		return nil, err
	}
	t.Cleanup(func() {
		if err := unix.Unmount(d.dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	ballast, err := os.Create(filepath.Join(d.dir, "ballast"))
	if err != nil {
		return nil, err
	}
	t.Cleanup(func() { _ = ballast.Close() })
	d.ballast = ballast
	return d, nil
}

// ownNamespace is set for a copy of the test binary that may mount.
const ownNamespace = "QLINK_TEST_OWN_NAMESPACE"

// repeatInNamespace has a copy of the test binary run this test in namespaces
// of its own, where everybody may mount. Where the system forbids those too, a
// full disk is left to what the other tests here show of it one by one.
func repeatInNamespace(t *testing.T) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self, "-test.v", "-test.count=1", "-test.run=^"+t.Name()+"$")
	cmd.Env = append(os.Environ(), ownNamespace+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS,
		UidMappings: []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}},
		Pdeathsig:   syscall.SIGKILL,
	}
	out, err := cmd.CombinedOutput()
	if errors.Is(err, syscall.EPERM) || errors.Is(err, syscall.ENOSPC) { // not a word of the test: the clone was refused
		t.Logf("this system lets nobody mount: %v", err)
		return
	}
	t.Logf("in a namespace of its own:\n%s", out)
	if err != nil || !bytes.Contains(out, []byte("--- PASS: "+t.Name())) {
		t.Errorf("it failed there: %v", err)
	}
}

// leave leaves so many bytes of the disk free, as far as the ballast can.
func (d *smallDisk) leave(bytes int64) {
	d.t.Helper()
	if err := d.ballast.Truncate(0); err != nil {
		d.t.Fatal(err)
	}
	var stat unix.Statfs_t
	if err := unix.Statfs(d.dir, &stat); err != nil {
		d.t.Fatal(err)
	}
	if fill := int64(stat.Bavail)*stat.Bsize - bytes; fill > 0 {
		if err := unix.Fallocate(int(d.ballast.Fd()), 0, 0, fill); err != nil {
			d.t.Fatal(err)
		}
	}
}
