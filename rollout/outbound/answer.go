package outbound

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/http"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unicode"
)

// Passing says whether an answer is one after which another try may get a better one.
func Passing(status int) bool {
	switch status {
	case http.StatusRequestTimeout, http.StatusTooEarly, http.StatusTooManyRequests:
		return true
	}
	return status >= http.StatusInternalServerError
}

// RetryAfter is how long a server asks to be left alone, in seconds or up to a date, and at
// most the bound; 0 where it does not ask.
func RetryAfter(header http.Header, now time.Time, bound time.Duration) time.Duration {
	text := header.Get("Retry-After")
	if seconds, err := strconv.ParseUint(text, 10, 31); err == nil {
		return min(time.Duration(seconds)*time.Second, bound)
	}
	at, err := http.ParseTime(text)
	if err != nil {
		return 0
	}
	return max(0, min(at.Sub(now), bound))
}

// Fault says what class of failure it is that there was no answer. A transport's own words
// may have the URL in them, and what is in it.
func Fault(err error) string {
	var host *net.DNSError
	var timeout net.Error
	switch {
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return "there was no answer in time"
	case errors.As(err, &host):
		return "the name of the host cannot be resolved; correct the address, or look at the cluster's DNS"
	case untrusted(err):
		return "the server's certificate is not trusted, or is for another name; give the authority that signed it"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "the connection was refused; see that the server runs and that network policies let the manager reach it"
	}
	return "the connection failed; see that the server runs and that network policies let the manager reach it"
}

func untrusted(err error) bool {
	var verification *tls.CertificateVerificationError
	var authority x509.UnknownAuthorityError
	var name x509.HostnameError
	return errors.As(err, &verification) || errors.As(err, &authority) || errors.As(err, &name)
}

// Text is what people may be shown of what somebody else wrote: one line of at most limit
// characters, without any that do not print.
func Text(raw []byte, limit int) string {
	clean := strings.Map(func(r rune) rune {
		if r == unicode.ReplacementChar || !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, string(raw))
	out := []rune(strings.Join(strings.Fields(clean), " "))
	if len(out) > limit {
		out = out[:limit]
	}
	return string(out)
}
