package badger

import (
	"hash/maphash"
	"maps"
	"slices"
)

// agreement tells whether the claims that some records say are those that stand
// because of others, each as often, without keeping one: it sums up their
// hashes, in so many groups that only a small part of all is to be looked at
// closely where a group is odd.
type agreement struct {
	seed   maphash.Seed
	groups [4096]uint64
}

func newAgreement() *agreement { return &agreement{seed: maphash.MakeSeed()} }

func (a *agreement) hash(claim []byte) (sum uint64, group int) {
	sum = maphash.Bytes(a.seed, claim)
	return sum, int(sum % uint64(len(a.groups)))
}

func (a *agreement) says(_ FindingKind, claim []byte, _ func() string) {
	sum, group := a.hash(claim)
	a.groups[group] += sum
}

func (a *agreement) stands(_ FindingKind, claim []byte, _ func() string) {
	sum, group := a.hash(claim)
	a.groups[group] -= sum
}

// maxOdd bounds the groups that are looked at closely.
const maxOdd = 64

// oddOnes returns what to look at closely; nil where all agree.
func (a *agreement) oddOnes() *oddOnes {
	odd := &oddOnes{of: a, groups: make(map[int]bool), claims: make(map[string]*oddOne)}
	for group, sum := range a.groups {
		switch {
		case sum == 0:
		case len(odd.groups) == maxOdd:
			odd.skipped++
		default:
			odd.groups[group] = true
		}
	}
	if len(odd.groups) == 0 {
		return nil
	}
	return odd
}

// oddOnes keeps the claims of odd groups that are said and do not stand, or
// the other way round.
type oddOnes struct {
	of      *agreement
	groups  map[int]bool
	skipped int // groups
	claims  map[string]*oddOne
}

type oddOne struct {
	kind     FindingKind
	said     int // how much oftener than it stands
	saying   string
	standing string
}

func (o *oddOnes) says(kind FindingKind, claim []byte, words func() string) {
	if one := o.one(kind, claim); one != nil {
		one.said++
		one.saying = words()
		o.drop(claim, one)
	}
}

func (o *oddOnes) stands(kind FindingKind, claim []byte, words func() string) {
	if one := o.one(kind, claim); one != nil {
		one.said--
		one.standing = words()
		o.drop(claim, one)
	}
}

func (o *oddOnes) one(kind FindingKind, claim []byte) *oddOne {
	if _, group := o.of.hash(claim); !o.groups[group] {
		return nil
	}
	one, ok := o.claims[string(claim)]
	if !ok {
		one = &oddOne{kind: kind}
		o.claims[string(claim)] = one
	}
	return one
}

func (o *oddOnes) drop(claim []byte, one *oddOne) {
	if one.said == 0 {
		delete(o.claims, string(claim))
	}
}

// tell adds what is odd to the findings.
func (o *oddOnes) tell(f *Findings) {
	for _, claim := range slices.Sorted(maps.Keys(o.claims)) {
		one := o.claims[claim]
		words := one.saying
		if one.said < 0 {
			words = one.standing
		}
		f.add(one.kind, "%s", words)
	}
	if o.skipped > 0 {
		f.add(FindingIndex, "there is more of that: %d times as much was not looked at", (len(o.groups)+o.skipped)/len(o.groups))
	}
}
