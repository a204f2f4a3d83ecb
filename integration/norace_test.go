//go:build !race

package integration

// raceFlags build Caddy as these tests themselves were built: a trial of many
// rounds wants it as people run it.
var raceFlags []string
