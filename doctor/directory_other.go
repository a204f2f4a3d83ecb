//go:build !unix

package doctor

// examineDirectory cannot tell here who else may read the store.
func examineDirectory(dir string, say say) {
	if dir != "" {
		say(CheckDirectory, Skipped, "owner and permissions of "+quoted(dir)+" cannot be told on this system", "Check that Caddy's user alone may open it.")
	}
}
