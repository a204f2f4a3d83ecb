//go:build race

package integration

// raceFlags build Caddy as these tests themselves were built.
var raceFlags = []string{"-race"}
