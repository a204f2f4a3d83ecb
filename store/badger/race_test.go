//go:build race

package badger

// populous is how many bills a store has whose size is to show: with every
// access to memory watched, a few.
const populous = 10_000
