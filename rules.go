package caddyqlink

import (
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/caddyserver/caddy/v2"
	"github.com/dustin/go-humanize"

	"github.com/caddy-qlink/caddy-qlink/bill"
	"github.com/caddy-qlink/caddy-qlink/payment"
)

// The functions of this file say what a value must look like. Each returns the
// setter of an option; none quotes a value that may hold a password.

// word accepts one of a few words.
func word[R any, W ~string](at func(*R) *W, words ...W) func(*R, string) error {
	return func(r *R, v string) error {
		if !slices.Contains(words, W(v)) {
			return fmt.Errorf("%q is none of %q", v, words)
		}
		*at(r) = W(v)
		return nil
	}
}

// maxText bounds names and codes, in bytes.
const maxText = 256

// text accepts any short line.
func text[R any](at func(*R) *string) func(*R, string) error {
	return func(r *R, v string) error {
		switch {
		case v == "":
			return errors.New("is empty")
		case len(v) > maxText:
			return fmt.Errorf("is longer than %d bytes", maxText)
		case hasControl(v):
			return errors.New("holds a control character")
		}
		*at(r) = v
		return nil
	}
}

func hasControl(v string) bool { return strings.ContainsFunc(v, unicode.IsControl) }

// span accepts a duration above zero; d stands for days.
func span[R any](at func(*R) *time.Duration) func(*R, string) error {
	return func(r *R, v string) error {
		d, err := duration(v)
		if err == nil && d == 0 {
			err = errors.New("must be above zero")
		}
		if err != nil {
			return err
		}
		*at(r) = d
		return nil
	}
}

// duration accepts zero too.
func duration(v string) (time.Duration, error) {
	d, err := caddy.ParseDuration(v)
	switch {
	case err != nil:
		return 0, fmt.Errorf("%q is no duration such as 30s, 10m or 1d", v)
	case d < 0:
		return 0, fmt.Errorf("%q is negative", v)
	}
	return d, nil
}

// setRetention accepts what leaves the late checks of ended bills their time.
func setRetention(s *settings, v string) error {
	d, err := duration(v)
	if err == nil && d < payment.MinRetention {
		err = fmt.Errorf("%q is less than %dd: until then ended bills are asked after for late payments", v, payment.MinRetention/day)
	}
	if err != nil {
		return err
	}
	s.retention = d
	return nil
}

const day = 24 * time.Hour

// count accepts a whole number that is at least least.
func count[R any](at func(*R) *int, least int) func(*R, string) error {
	return func(r *R, v string) error {
		n, err := strconv.Atoi(v)
		if err != nil || n < least {
			return fmt.Errorf("%q is no whole number of at least %d", v, least)
		}
		*at(r) = n
		return nil
	}
}

// size accepts a number of bytes such as 256MiB.
func size[R any](at func(*R) *uint64) func(*R, string) error {
	return func(r *R, v string) error {
		n, err := humanize.ParseBytes(v)
		if err != nil {
			return fmt.Errorf("%q is no size such as 256MiB", v)
		}
		*at(r) = n
		return nil
	}
}

// zone accepts an IANA name.
func zone[R any](at func(*R) **time.Location) func(*R, string) error {
	return func(r *R, v string) error {
		location, err := time.LoadLocation(v)
		if err != nil || v == "" || v == "Local" {
			return fmt.Errorf("%q is no IANA time zone such as Asia/Shanghai", v)
		}
		*at(r) = location
		return nil
	}
}

func setCountry(d *bill.Defaults, v string) error {
	if !bill.IsCountry(v) {
		return fmt.Errorf("%q is no country's ISO 3166-1 code such as ID", v)
	}
	d.Country = v
	return nil
}

func setCurrency(d *bill.Defaults, v string) error {
	if _, ok := bill.Currency(v).Decimals(); !ok {
		return fmt.Errorf("%q is no currency's ISO 4217 code such as IDR", v)
	}
	d.Currency = bill.Currency(v)
	return nil
}

// webURL accepts an http or https URL with a host.
func webURL(v string) (*url.URL, error) {
	u, err := url.Parse(v)
	switch {
	case err != nil || u.Opaque != "":
		return nil, errors.New("is not a URL")
	case u.Scheme != "http" && u.Scheme != "https":
		return nil, errors.New("is not an http or https URL")
	case u.Hostname() == "":
		return nil, errors.New("has no host")
	}
	return u, nil
}

// absoluteURL accepts one without a query: paths are appended to it.
func absoluteURL(v string) (*url.URL, error) {
	u, err := webURL(v)
	switch {
	case err != nil:
		return nil, err
	case u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return nil, errors.New("must end with its path: no query, no fragment")
	}
	return u, nil
}

// setPublicURL accepts what payment pages lie under.
func setPublicURL(s *site, v string) error {
	u, err := absoluteURL(v)
	if err == nil && u.User != nil {
		err = errors.New("must not hold a user")
	}
	if err != nil {
		return err
	}
	s.publicURL = strings.TrimRight(u.String(), "/")
	return nil
}

// ownPlaceholders fills in what return_url may hold besides Caddy's.
var ownPlaceholders = strings.NewReplacer("{order_code}", "O", "{bill}", "B")

// setReturnURL accepts a path of this site or an http or https URL. Nothing
// else: it becomes a link on a page.
func setReturnURL(s *site, v string) error {
	filled := ownPlaceholders.Replace(v)
	u, err := url.Parse(filled)
	switch {
	case err != nil || hasControl(v) || strings.Contains(v, `\`) || u.User != nil:
		return errors.New("is not a URL that may stand on a page")
	case u.IsAbs() && (u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == ""):
		return errors.New("is not an http or https URL")
	case !u.IsAbs() && (!strings.HasPrefix(filled, "/") || strings.HasPrefix(filled, "//")):
		return errors.New("is neither an http or https URL nor a path that begins with a slash")
	}
	s.returnURL = v
	return nil
}

// origin accepts what browsers send as Origin, and returns it the way they
// write it.
func origin(v string) (string, error) {
	u, err := absoluteURL(v)
	if err != nil {
		return "", err
	}
	if u.User != nil || u.Path != "" && u.Path != "/" {
		return "", errors.New("must be scheme and host alone, such as https://shop.example.com")
	}
	host := strings.ToLower(u.Host)
	for scheme, port := range map[string]string{"http": ":80", "https": ":443"} {
		if u.Scheme == scheme {
			host = strings.TrimSuffix(host, port)
		}
	}
	return u.Scheme + "://" + host, nil
}

// aPrefix is one or more plain path segments.
var aPrefix = regexp.MustCompile(`^(/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)+$`)

func setPrefix(s *site, v string) error {
	path := strings.TrimSuffix(v, "/")
	if !aPrefix.MatchString(path) {
		return fmt.Errorf("%q is no path of its own such as /qlink (letters, digits and . _ ~ - in each segment)", v)
	}
	s.prefix = path
	return nil
}

// aName is what an account may be called: it stands in logs and with bills.
var aName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)

func checkName(v string) error {
	if !aName.MatchString(v) {
		return fmt.Errorf("%q is no name (64 letters, digits and . _ - at most)", v)
	}
	return nil
}
