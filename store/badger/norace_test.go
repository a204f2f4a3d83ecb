//go:build !race

package badger

// populous is how many bills a store has whose size is to show.
const populous = 100_000
