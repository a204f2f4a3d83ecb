package qlink

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// Config says where and as whom a Client calls the gateway. Endpoint, AppKey, AppSecret
// and PayAccount are required; the zero value of every other field is its default.
type Config struct {
	// Endpoint is the base URL, http or https. The documented ones are plain http: whoever
	// sits on the path can forge answers, so put a tunnel or a TLS proxy in between.
	Endpoint   string
	AppKey     string
	AppSecret  string `json:"-"`
	PayAccount string

	Edition Edition
	// ServiceProvider names the provider behind EditionGlobal, which requires it.
	ServiceProvider string

	Content      ContentMode
	Escape       BodyEscape
	AccountField AccountField
	// Location is the zone of the times on the wire; nil is Asia/Shanghai.
	Location *time.Location
	// ApplyParams are further top-level parameters of Apply. None may have the name of a
	// documented field.
	ApplyParams []Param
	// Header is added to every request. Its values stand in no error.
	Header http.Header

	// Timeout is for one call, from the dialling to the last byte of the answer; 0 is 10 s.
	Timeout time.Duration
	// Transport carries the requests; nil is one of the client's own. It must not repeat a
	// request that may have reached the gateway.
	Transport http.RoundTripper
}

const defaultTimeout = 10 * time.Second

// String names endpoint host and key only, so that printing a Config tells no secret.
func (c Config) String() string {
	host := "?"
	if u, err := url.Parse(c.Endpoint); err == nil {
		host = u.Host
	}
	return fmt.Sprintf("qlink.Config{%s at %s}", c.AppKey, host)
}

// GoString is String, for %#v.
func (c Config) GoString() string { return c.String() }

// reservedNames are the documented parameters of Apply, which an ApplyParam must not say a
// second time, and the fields of a notification: a request of ours with a status in it,
// sent back at us, would be one.
var reservedNames = []string{
	"payAccount", "glinkAccount", "payTypeCode", "payChannelCode", "tradeUuid", "tradeTime",
	"orderCode", "country", "currency", "amount", "description", "metadata", "items",
	"billCode", "paymentRequestId", "status", "payTime", "errorCode",
}

// withDefaults fills in what the zero values stand for.
func (c Config) withDefaults() Config {
	if c.Edition == "" {
		c.Edition = EditionStandard
	}
	if c.Content == "" {
		c.Content = ContentString
	}
	if c.Escape == "" {
		c.Escape = EscapeASCII
	}
	if c.AccountField == "" {
		c.AccountField = AccountFieldPayAccount
	}
	if c.Timeout == 0 {
		c.Timeout = defaultTimeout
	}
	c.Location = locationOr(c.Location)
	return c
}

func (c Config) validate() error {
	err := errors.Join(
		required(named{"app key", c.AppKey}, named{"app secret", c.AppSecret}, named{"pay account", c.PayAccount}),
		oneOf("edition", c.Edition, EditionStandard, EditionGlobal),
		oneOf("signature content", c.Content, ContentString, ContentObject, ContentAuto),
		oneOf("body escape", c.Escape, EscapeASCII, EscapeNone),
		oneOf("account field", c.AccountField, AccountFieldPayAccount, AccountFieldGlinkAccount, AccountFieldBoth),
		c.validateProvider(), c.validateParams(), c.validateHeader())
	if c.Timeout < 0 {
		err = errors.Join(err, errors.New("timeout is negative"))
	}
	return err
}

func oneOf[T ~string](name string, value T, allowed ...T) error {
	if slices.Contains(allowed, value) {
		return nil
	}
	return fmt.Errorf("%s %q is none of %q", name, value, allowed)
}

func (c Config) validateProvider() error {
	switch {
	case c.Edition == EditionGlobal && c.ServiceProvider == "":
		return errors.New("edition global needs a service provider")
	case c.Edition == EditionStandard && c.ServiceProvider != "":
		return errors.New("a service provider is for edition global only")
	default:
		return nil
	}
}

func (c Config) validateParams() (err error) {
	var seen []string
	for _, p := range c.ApplyParams {
		switch {
		case p.Name == "":
			err = errors.Join(err, errors.New("an apply parameter has no name"))
		case slices.Contains(reservedNames, p.Name):
			err = errors.Join(err, fmt.Errorf("apply parameter %q is one the document defines", p.Name))
		case slices.Contains(seen, p.Name):
			err = errors.Join(err, fmt.Errorf("apply parameter %q stands twice", p.Name))
		}
		seen = append(seen, p.Name)
		err = errors.Join(err, readable(named{"an apply parameter's name", p.Name}, named{"apply parameter " + p.Name, p.Value}))
	}
	return err
}

// validateHeader finds here what net/http would find at each call, without the values.
func (c Config) validateHeader() (err error) {
	for _, v := range []named{{"app key", c.AppKey}, {"service provider", c.ServiceProvider}} {
		if !headerValue(v.value) {
			err = errors.Join(err, errors.New(v.name+" holds a character that no header may hold"))
		}
	}
	for name, values := range c.Header {
		switch {
		case !headerName(name):
			err = errors.Join(err, fmt.Errorf("header name %q is not valid", name))
		case c.ownHeader(name):
			err = errors.Join(err, fmt.Errorf("header %q is the client's to set", name))
		case !allHeaderValues(values):
			err = errors.Join(err, fmt.Errorf("header %q holds a character that no header may hold", name))
		}
	}
	return err
}

func (c Config) ownHeader(name string) bool {
	own := []string{HeaderAppKey, HeaderSign, "Content-Type", "Content-Length", "Transfer-Encoding", "Trailer"}
	if c.Edition == EditionGlobal {
		own = append(own, HeaderServiceProvider)
	}
	return slices.ContainsFunc(own, func(o string) bool { return strings.EqualFold(o, name) })
}

func headerName(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool {
		return r <= ' ' || r >= 0x7f || strings.ContainsRune(`"(),/:;<=>?@[\]{}`, r)
	})
}

func allHeaderValues(values []string) bool {
	return !slices.ContainsFunc(values, func(v string) bool { return !headerValue(v) })
}

func headerValue(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f })
}

// parseEndpoint tells nothing of the URL in its errors: it may hold a password.
func parseEndpoint(endpoint string) (*url.URL, error) {
	u, err := url.Parse(endpoint)
	switch {
	case endpoint == "":
		return nil, errors.New("endpoint is missing")
	case err != nil:
		return nil, errors.New("endpoint is not a URL")
	case u.Scheme != "http" && u.Scheme != "https":
		return nil, errors.New("endpoint is neither http nor https")
	case u.Host == "":
		return nil, errors.New("endpoint has no host")
	default:
		u.Fragment, u.RawFragment = "", ""
		return u, nil
	}
}
