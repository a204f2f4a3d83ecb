package qlink

import (
	"errors"
	"strconv"
	"strings"
)

// Kind sorts failures by what they prove. The zero value proves nothing.
type Kind uint8

const (
	// KindUnclear: whether the gateway did it is not known: a time-out, a cut, 3xx, 5xx,
	// 408, 429, no or bad JSON, too long an answer, an answer without what it must hold.
	KindUnclear Kind = iota
	// KindInvalid: a bad request or configuration, found before anything was sent.
	KindInvalid
	// KindNotSent: no connection to the gateway was made, so that it got nothing.
	KindNotSent
	// KindRefused: the gateway answered that it did not do it.
	KindRefused
	// KindAuth: the gateway complains about the signature or the key. It says nothing
	// about the order, and a person has to look.
	KindAuth
)

// String returns what happened, to follow the operation's name.
func (k Kind) String() string {
	switch k {
	case KindInvalid:
		return "not sent: invalid"
	case KindNotSent:
		return "not sent: no connection to the gateway"
	case KindRefused:
		return "refused by the gateway"
	case KindAuth:
		return "the gateway does not accept the key or signature"
	default:
		return "outcome unclear"
	}
}

// Effect is what is certain about what a call did at the gateway.
type Effect uint8

const (
	EffectUnknown Effect = iota // it may have done it
	EffectNone                  // it certainly did not do it
	EffectDone                  // it certainly did it
)

// String returns a word for the effect, for logs.
func (e Effect) String() string {
	switch e {
	case EffectNone:
		return "none"
	case EffectDone:
		return "done"
	default:
		return "unknown"
	}
}

// Effect returns what a failure of this kind proves. KindAuth proves nothing: a gateway
// that already has the payment complains about a second call's signature just the same.
// No failure proves EffectDone: that is what the absence of an error does, see EffectOf.
func (k Kind) Effect() Effect {
	switch k {
	case KindInvalid, KindNotSent, KindRefused:
		return EffectNone
	default:
		return EffectUnknown
	}
}

// EffectOf returns what the error of a call proves: EffectDone if nil, EffectUnknown if it
// is not of this package.
func EffectOf(err error) Effect {
	if err == nil {
		return EffectDone
	}
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Kind.Effect()
	}
	return EffectUnknown
}

// Error is what every method of Client, and NewClient, returns when it fails. Nothing in it
// holds a secret, a signature or the user info or query of a URL.
type Error struct {
	Operation  string // as in the URL; "config" from NewClient
	HTTPStatus int    // 0 if there was no answer
	Message    string // the gateway's, or what is wrong with a request; untrusted text
	ErrorCode  string // the gateway's; untrusted text
	Kind       Kind
	Err        error // the cause; nil where the gateway's answer says it all
}

// Error returns operation, kind and all details in one line.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString("qlink " + e.Operation + ": " + e.Kind.String())
	if e.HTTPStatus != 0 {
		b.WriteString(": HTTP " + strconv.Itoa(e.HTTPStatus))
	}
	if e.ErrorCode != "" {
		b.WriteString(": errorCode " + strconv.Quote(e.ErrorCode))
	}
	if e.Message != "" {
		b.WriteString(": " + strconv.Quote(e.Message))
	}
	if e.Err != nil {
		b.WriteString(": " + strings.ReplaceAll(e.Err.Error(), "\n", "; ")) // joined errors
	}
	return b.String()
}

// Unwrap returns the cause, for errors.Is with context.DeadlineExceeded and the like.
func (e *Error) Unwrap() error { return e.Err }

// redacted is a cause whose text may have repeated a secret, as a transport does that
// quotes an answer it could not read.
type redacted struct {
	text  string
	cause error
}

func (e *redacted) Error() string { return e.text }
func (e *redacted) Unwrap() error { return e.cause }
