package doctor

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"strings"
	"time"
)

// certificateWarns is how long before its end a certificate should have been
// replaced: Caddy does so a month before.
const certificateWarns = 14 * 24 * time.Hour

// examineCertificate looks at the certificate of what was called, or at why it
// could not be.
func examineCertificate(address, whose string, s sight, lost error, now time.Time, say say) {
	if !strings.HasPrefix(strings.ToLower(address), "https:") {
		say(CheckCertificate, Skipped, whose+" address is plain http: there is no certificate", "")
		return
	}
	if flaw := untrusted(lost); flaw != "" {
		say(CheckCertificate, Failed, whose+" certificate is not accepted: "+flaw,
			"Have a certificate installed there that is valid for "+hostOf(address)+". Where it is of an authority of your own, this machine has to trust that.")
		return
	}
	if s.tls == nil || len(s.tls.PeerCertificates) == 0 {
		say(CheckCertificate, Skipped, whose+" certificate could not be seen", "")
		return
	}
	ends := s.tls.PeerCertificates[0].NotAfter
	left := ends.Sub(now)
	finding := fmt.Sprintf("%s certificate is valid until %s", whose, ends.UTC().Format("2006-01-02 15:04 UTC"))
	switch {
	case left <= 0:
		say(CheckCertificate, Failed, finding+", which is over", "Have it renewed now, or see to it that this machine's clock is right.")
	case left <= certificateWarns:
		say(CheckCertificate, Warning, fmt.Sprintf("%s: %d days are left", finding, int(left/(24*time.Hour))),
			"Have it renewed; where that should happen by itself, look into the log of who does it.")
	default:
		say(CheckCertificate, OK, finding, "")
	}
}

// untrusted returns what is wrong with a certificate that kept a call from
// being made; "" where it was something else.
func untrusted(lost error) string {
	if _, ok := errors.AsType[*tls.CertificateVerificationError](lost); !ok {
		return ""
	}
	if e, ok := errors.AsType[x509.CertificateInvalidError](lost); ok && e.Reason == x509.Expired {
		return fmt.Sprintf("it was valid from %s to %s", e.Cert.NotBefore.Format(time.DateOnly), e.Cert.NotAfter.Format(time.DateOnly))
	}
	if _, ok := errors.AsType[x509.HostnameError](lost); ok {
		return "it is for another name"
	}
	if _, ok := errors.AsType[x509.UnknownAuthorityError](lost); ok {
		return "no authority that this machine knows vouches for it"
	}
	return quoted(lost.Error())
}
