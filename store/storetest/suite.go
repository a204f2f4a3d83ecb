// Package storetest is the conformance suite that every store has to pass:
// what bill.Store promises, as tests. Who writes a store of their own imports
// it from their tests:
//
//	func TestTheStoreKeepsItsPromises(t *testing.T) {
//		storetest.Suite{Open: open, Durable: true}.Run(t)
//	}
//
// It knows a store by its interface alone, and is never part of a build.
package storetest

import (
	"testing"

	"github.com/caddy-qlink/caddy-qlink/bill"
)

// Suite says how to get at the store under test.
type Suite struct {
	// Open opens the store that lives in dir, creating it where it does not
	// exist. dir is an empty folder at first, and of one test alone; a store
	// elsewhere may take it as a name. The suite closes what Open returns.
	Open func(t testing.TB, dir string) bill.Store

	// Durable says that a store opened again in the same dir has everything.
	Durable bool

	// Crash returns a dir holding what the store in the given one, which is
	// still open, would have left behind if everything had stopped at once; nil
	// where that cannot be had.
	Crash func(t testing.TB, dir string) string

	// Peer opens the store in dir, which is open, once more, as another process
	// would that shares it; nil where none can. The suite closes what it returns,
	// before or after the other.
	Peer func(t testing.TB, dir string) bill.Store

	// Opener configures the store that lives in dir, of stores that are durable
	// and bill.Movable; else nil.
	Opener func(dir string) bill.MovableOpener
}

// test is one promise, tried on a store of its own that is empty.
type test struct {
	name string
	run  func(t *testing.T, store bill.Store)
}

// Run runs the whole suite.
func (s Suite) Run(t *testing.T) {
	for _, group := range [][]test{commitTests, recordTests, listingTests, lookupTests, modelTests, dueTests, outboxTests, forgettingTests, watchTests, closingTests} {
		for _, test := range group {
			t.Run(test.name, func(t *testing.T) { test.run(t, s.open(t, t.TempDir())) })
		}
	}
	s.runMoving(t)
	s.runLeases(t)
	if s.Peer != nil {
		s.runPeers(t)
	}
	if s.Durable {
		t.Run("WhatWasCommittedIsThereAfterReopening", s.whatWasCommittedIsThereAfterReopening)
		t.Run("WhatWasForgottenStaysSoAfterReopening", s.whatWasForgottenStaysSoAfterReopening)
	}
	if s.Crash != nil {
		t.Run("WhatWasCommittedIsThereAfterACrash", s.whatWasCommittedIsThereAfterACrash)
	}
}

// runLeases does nothing where the store is none that is shared.
func (s Suite) runLeases(t *testing.T) {
	if _, shared := s.open(t, t.TempDir()).(leasing); !shared {
		return
	}
	for _, test := range leaseTests {
		t.Run(test.name, func(t *testing.T) { test.run(t, s.open(t, t.TempDir()).(leasing)) })
	}
}

// open opens the store in dir and closes it when the test ends.
func (s Suite) open(t *testing.T, dir string) bill.Store {
	t.Helper()
	store := s.Open(t, dir)
	t.Cleanup(func() { _ = store.Close() }) // a test that closed it itself has looked at the error
	return store
}
