package suite

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"regexp"
	"strconv"
)

// Assertion says how many violations there must be, of those whose message matches.
type Assertion struct {
	Violations Count `json:"violations"`
	// Message is searched for, as a regular expression; nil matches every message.
	Message *string `json:"message"`
}

// Count is yes, no or a number; what is left out is yes.
type Count struct {
	least, most int
	set         bool
}

// UnmarshalJSON implements json.Unmarshaler. It takes true and false too, which is what
// readers of YAML 1.1 make of yes and no.
func (c *Count) UnmarshalJSON(raw []byte) error {
	var v any
	if err := json.Unmarshal(raw, &v); err != nil {
		return err
	}
	c.set = true
	switch v := v.(type) {
	case nil:
		c.set = false
	case bool:
		c.least, c.most = bounds(v)
	case string:
		if v != "yes" && v != "no" {
			return fmt.Errorf("violations: wanted yes, no or a number, found %q", v)
		}
		c.least, c.most = bounds(v == "yes")
	case float64:
		if v < 0 || v != math.Trunc(v) || v > math.MaxInt32 {
			return fmt.Errorf("violations: wanted yes, no or a number, found %v", v)
		}
		c.least, c.most = int(v), int(v)
	default:
		return fmt.Errorf("violations: wanted yes, no or a number, found %s", raw)
	}
	return nil
}

func bounds(yes bool) (least, most int) {
	if yes {
		return 1, math.MaxInt
	}
	return 0, 0
}

func (c Count) bounds() (least, most int) {
	if !c.set {
		return bounds(true)
	}
	return c.least, c.most
}

func (c Count) String() string {
	switch least, most := c.bounds(); {
	case least != most:
		return "at least 1 violation"
	case least == 0:
		return "no violation"
	case least == 1:
		return "exactly 1 violation"
	default:
		return "exactly " + strconv.Itoa(least) + " violations"
	}
}

// check says what is wrong, if anything.
func (a Assertion) check(messages []string) error {
	found, which := len(messages), ""
	if a.Message != nil {
		pattern, err := regexp.Compile(*a.Message)
		if err != nil {
			return fmt.Errorf("message: wanted a regular expression, found %q: %w", *a.Message, err)
		}
		found, which = 0, fmt.Sprintf(" whose message matches %q", *a.Message)
		for _, m := range messages {
			if pattern.MatchString(m) {
				found++
			}
		}
	}
	if least, most := a.Violations.bounds(); found < least || found > most {
		return fmt.Errorf("wanted %s%s, found %d; all messages: %q", a.Violations, which, found, messages)
	}
	return nil
}

var errNoAssertions = errors.New("assertions: wanted at least one, found none")

// check judges what came of a case.
func (c *Case) check(messages []string) error {
	if len(c.Assertions) == 0 {
		return errNoAssertions
	}
	for _, a := range c.Assertions {
		if err := a.check(messages); err != nil {
			return err
		}
	}
	return nil
}
