package play

import (
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"

	admissionv1 "k8s.io/api/admission/v1"

	"tidegate.io/tidegate/test/attack/internal/attempt"
	"tidegate.io/tidegate/test/attack/internal/world"
)

// unanswered is the result of a review that had no answer in the attempt's time. Nobody can
// expect it.
const unanswered attempt.Result = "unanswered"

// Answer is what came of one request.
type Answer struct {
	Result attempt.Result
	// Status is the HTTP status, or that of a verdict.
	Status int
	// Code is the stable code of a refusal, By the webhook or the admission policy.
	Code, By string
	Message  string
	Warnings []string

	body []byte
}

// String is for the table.
func (a Answer) String() string {
	switch a.Result {
	case attempt.Denied:
		return strings.TrimSpace("denied " + a.Code)
	case attempt.Allowed:
		return fmt.Sprintf("allowed %d", a.Status)
	default:
		return fmt.Sprintf("%s %d: %s", a.Result, a.Status, clip(a.Message))
	}
}

// clip keeps a message on a line.
func clip(message string) string {
	const most = 160
	message = strings.Join(strings.Fields(message), " ")
	if len(message) > most {
		message = message[:most] + "..."
	}
	return message
}

var (
	// What the API server puts in front of what admission says.
	byWebhook = regexp.MustCompile(`admission webhook "([^"]+)" denied the request`)
	byPolicy  = regexp.MustCompile(`(?:AdmissionPolicy|policy) '([^']+)' (?:with binding '[^']*' )?denied request`)
	stable    = regexp.MustCompile(`\bTG-[A-Z0-9]+(?:-[A-Z0-9]+)*\b`)
	ofPolicy  = regexp.MustCompile(`\(policy ([^)\s]+)\)`)
)

// answered reads an answer of the API server.
func answered(status int, body []byte, header http.Header) Answer {
	a := Answer{Status: status, body: body}
	for _, w := range header.Values("Warning") {
		// 299 - "text"
		if _, quoted, ok := strings.Cut(w, `"`); ok {
			w = strings.TrimSuffix(quoted, `"`)
		}
		a.Warnings = append(a.Warnings, w)
	}
	if status/100 == 2 || status == http.StatusSwitchingProtocols {
		a.Result = attempt.Allowed
		return a
	}
	a.Message = world.Message(body)
	a.Result = attempt.Rejected
	if by := refuser(a.Message); by != "" {
		a.By, a.Code = by, stable.FindString(a.Message)
		if isTidegates(by) {
			a.Result = attempt.Denied
		}
	}
	return a
}

// refuser is the webhook or the admission policy that refused, if one did.
func refuser(message string) string {
	for _, r := range []*regexp.Regexp{byWebhook, byPolicy} {
		if m := r.FindStringSubmatch(message); m != nil {
			return m[1]
		}
	}
	return ""
}

// isTidegates says whether a webhook or an admission policy is Tidegate's, by its name.
func isTidegates(by string) bool {
	return strings.Contains(by, "tidegate")
}

// reviewed reads an answer of the webhook itself.
func reviewed(status int, body []byte) Answer {
	var review admissionv1.AdmissionReview
	if status != http.StatusOK || json.Unmarshal(body, &review) != nil || review.Response == nil {
		return Answer{Result: attempt.Rejected, Status: status, Message: world.Message(body), body: body}
	}
	a := Answer{Result: attempt.Denied, Status: http.StatusOK, Warnings: review.Response.Warnings, body: body, By: "the webhook"}
	if r := review.Response.Result; r != nil {
		a.Status, a.Message = int(r.Code), r.Message
	}
	if review.Response.Allowed {
		a.Result = attempt.Allowed
	}
	a.Code = stable.FindString(a.Message)
	return a
}

// judge returns what of an answer is not as expected.
func judge(e attempt.Expect, a Answer) []string {
	var out []string
	problem := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	if !slices.ContainsFunc(e.Result, func(r attempt.Result) bool { return is(r, a) }) {
		problem("wanted %s, found %s: %s", words(e.Result), a.Result, clip(fmt.Sprintf("%d %s", a.Status, a.Message)))
		// Whatever else was expected is about another answer.
		return out
	}
	// What is expected of a denial is not expected of another result that would do as well.
	if a.Result == attempt.Denied {
		if len(e.Code) > 0 && !slices.Contains(e.Code, a.Code) {
			problem("wanted code %s, found %q: %s", strings.Join(e.Code, " or "), a.Code, clip(a.Message))
		}
		if e.Policy != "" && !strings.Contains(a.By, e.Policy) && !names(a.Message, e.Policy) {
			problem("wanted policy %s, found %s: %s", e.Policy, a.By, clip(a.Message))
		}
	}
	return append(out, worded(e, a)...)
}

// worded returns what of the wording of an answer is not as expected.
func worded(e attempt.Expect, a Answer) []string {
	var out []string
	problem := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	if len(e.Status) > 0 && !slices.Contains(e.Status, a.Status) {
		problem("wanted status %v, found %d", []int(e.Status), a.Status)
	}
	if e.Message != "" && !matches(e.Message, a.Message) {
		problem("wanted a message that matches %q, found %q", e.Message, a.Message)
	}
	if e.Not != "" && matches(e.Not, a.Message) {
		problem("wanted no message that matches %q, found %q", e.Not, a.Message)
	}
	if e.Warning != "" && !slices.ContainsFunc(a.Warnings, func(w string) bool { return matches(e.Warning, w) }) {
		problem("wanted a warning that matches %q, found %q", e.Warning, a.Warnings)
	}
	if e.Field != nil {
		var object map[string]any
		if err := json.Unmarshal(a.body, &object); err != nil {
			problem("wanted an object in the answer, found: %v", err)
		} else if p := compare(*e.Field, object); p != "" {
			problem("in the answer: %s", p)
		}
	}
	return out
}

// is says whether an answer is a result. Nobody refused what is admitted.
func is(r attempt.Result, a Answer) bool {
	if r == attempt.Admitted {
		return a.Result != attempt.Denied && a.By == "" &&
			a.Status != http.StatusForbidden && a.Status != http.StatusUnauthorized && !strings.Contains(a.Message, "failed calling webhook")
	}
	return r == a.Result
}

func names(message, policy string) bool {
	for _, m := range ofPolicy.FindAllStringSubmatch(message, -1) {
		if m[1] == policy {
			return true
		}
	}
	return false
}

// matches is about patterns that were compiled when the file was read, but for their
// variables; one that does not compile matches nothing.
func matches(pattern, text string) bool {
	ok, err := regexp.MatchString(pattern, text)
	return ok && err == nil
}

func words(results attempt.Results) string {
	out := make([]string, 0, len(results))
	for _, r := range results {
		out = append(out, string(r))
	}
	return strings.Join(out, " or ")
}
