//go:build unix

package doctor

import (
	"fmt"
	"os"
	"syscall"
)

// examineDirectory looks at who else may read or change the store.
func examineDirectory(dir string, say say) {
	if dir == "" {
		return
	}
	info, err := os.Stat(dir)
	if err != nil {
		say(CheckDirectory, Failed, "the store's directory cannot be looked at: "+quoted(err.Error()), "Check that "+quoted(dir)+" exists and that Caddy's user may enter it.")
		return
	}
	mode := info.Mode().Perm()
	owner, own := uint32(0), os.Geteuid()
	if stat, ok := info.Sys().(*syscall.Stat_t); ok {
		owner = stat.Uid
	}
	switch {
	case int64(owner) != int64(own):
		say(CheckDirectory, Failed, fmt.Sprintf("the store's directory %s belongs to the user %d, while Caddy runs as %d: files that the other makes stop it at the next start", quoted(dir), owner, own),
			fmt.Sprintf("chown -R %d %s, and run Caddy as one user only.", own, quoted(dir)))
	case mode&0o022 != 0:
		say(CheckDirectory, Failed, fmt.Sprintf("other users may change the store's directory %s (mode %03o)", quoted(dir), mode), "chmod 700 "+quoted(dir))
	case mode&0o077 != 0:
		say(CheckDirectory, Warning, fmt.Sprintf("other users may enter the store's directory %s (mode %03o)", quoted(dir), mode), "chmod 700 "+quoted(dir))
	default:
		say(CheckDirectory, OK, fmt.Sprintf("the store's directory %s belongs to Caddy's user alone", quoted(dir)), "")
	}
}
