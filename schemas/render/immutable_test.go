package render

import (
	"errors"
	"strings"
	"testing"
)

const immutables = `package t
#Region: *"eu" | "us" @immutable()
#Store: {@immutable(), class!: string, size: int | *1}
#Variables: {
	image!: string
	plain: int | *1
	region: *"eu" | "us" @immutable()
	byName: #Region
	opt?: string @immutable()
	whole: {a: int | *1, b?: string} @immutable()
	inner: deep: {x: int | *1 @immutable(), y: int | *1}
	store?: #Store
	disks: [...{name!: string @immutable(), size: int | *1}]
	fixed: [...int] @immutable()
	volumes: [string]: {class: *"ssd" | "hdd" @immutable(), size: int | *1}
	labels: [string]: string @immutable()
	secret?: string @sensitive() @immutable()
	account?: {user: string | *"x", pass: string | *"y"} @sensitive() @immutable()
	count: *1 | number @immutable()
	if region == "us" {
		zone: *"a" | "b" @immutable()
	}
}
#Context: {name: string, revision: string}
values: #Variables
context: #Context
objects: {}
rollout: {type: "canary"}
`

func TestImmutableVariables(t *testing.T) {
	tpl := compile(t, immutables)
	for name, c := range map[string]struct {
		was, now string
		// want are the beginnings of the lines; none for values that may follow.
		want []string
	}{
		"the same values":                          {`{"image": "a"}`, `{"image": "a"}`, nil},
		"another image":                            {`{"image": "a", "plain": 1}`, `{"image": "b", "plain": 2}`, nil},
		"a default that is written out":            {`{"image": "a"}`, `{"image": "a", "region": "eu"}`, nil},
		"a default that is left out":               {`{"image": "a", "region": "eu"}`, `{"image": "a"}`, nil},
		"another value":                            {`{"image": "a", "region": "eu"}`, `{"image": "a", "region": "us"}`, []string{`values.region: wanted "eu" as before, since the variable cannot be changed, found "us"; set it back`}},
		"another than the default":                 {`{"image": "a"}`, `{"image": "a", "region": "us"}`, []string{`values.region: wanted "eu" as before`}},
		"back to the default":                      {`{"image": "a", "region": "us"}`, `{"image": "a"}`, []string{`values.region: wanted "us" as before, since the variable cannot be changed, found "eu"`}},
		"by definition":                            {`{"image": "a"}`, `{"image": "a", "byName": "us"}`, []string{`values.byName: wanted "eu" as before`}},
		"set where nothing was":                    {`{"image": "a"}`, `{"image": "a", "opt": "x"}`, []string{`values.opt: wanted nothing as before, since the variable cannot be changed, found "x"`}},
		"nothing where it was set":                 {`{"image": "a", "opt": "x"}`, `{"image": "a"}`, []string{`values.opt: wanted "x" as before, since the variable cannot be changed, found nothing`}},
		"within a struct that is marked":           {`{"image": "a"}`, `{"image": "a", "whole": {"a": 2}}`, []string{"values.whole: wanted an object of 1 entry as before"}},
		"defaults within a struct that is marked":  {`{"image": "a"}`, `{"image": "a", "whole": {"a": 1}}`, nil},
		"deep down":                                {`{"image": "a"}`, `{"image": "a", "inner": {"deep": {"x": 2, "y": 2}}}`, []string{"values.inner.deep.x: wanted 1 as before"}},
		"beside it":                                {`{"image": "a"}`, `{"image": "a", "inner": {"deep": {"x": 1, "y": 2}}}`, nil},
		"in a definition that is marked within":    {`{"image": "a", "store": {"class": "x"}}`, `{"image": "a", "store": {"class": "x", "size": 2}}`, []string{"values.store: wanted an object"}},
		"the same in a definition":                 {`{"image": "a", "store": {"class": "x"}}`, `{"image": "a", "store": {"size": 1, "class": "x"}}`, nil},
		"an item of a list":                        {`{"image": "a", "disks": [{"name": "a"}, {"name": "b"}]}`, `{"image": "a", "disks": [{"name": "a", "size": 5}, {"name": "c"}]}`, []string{`values.disks[1].name: wanted "b" as before`}},
		"a list that grows":                        {`{"image": "a", "disks": [{"name": "a"}]}`, `{"image": "a", "disks": [{"name": "a"}, {"name": "c"}]}`, nil},
		"a list that shrinks":                      {`{"image": "a", "disks": [{"name": "a"}, {"name": "c"}]}`, `{"image": "a", "disks": [{"name": "a"}]}`, nil},
		"a marked list that grows":                 {`{"image": "a", "fixed": [1]}`, `{"image": "a", "fixed": [1, 2]}`, []string{"values.fixed: wanted a list of 1 item as before"}},
		"a marked list of the same":                {`{"image": "a", "fixed": [1, 2.0]}`, `{"image": "a", "fixed": [1.0, 2]}`, nil},
		"an entry of a map":                        {`{"image": "a", "volumes": {"x": {}, "y": {}}}`, `{"image": "a", "volumes": {"x": {"class": "ssd", "size": 9}, "y": {"class": "hdd"}}}`, []string{`values.volumes.y.class: wanted "ssd" as before`}},
		"a map that grows":                         {`{"image": "a"}`, `{"image": "a", "volumes": {"y": {"class": "hdd"}}}`, nil},
		"a marked value of a map":                  {`{"image": "a", "labels": {"a": "x", "b": "y"}}`, `{"image": "a", "labels": {"a": "z", "b": "y"}}`, []string{`values.labels.a: wanted "x" as before`}},
		"two at once, sorted":                      {`{"image": "a"}`, `{"image": "a", "region": "us", "byName": "us"}`, []string{"values.byName: ", "values.region: "}},
		"a sensitive one":                          {`{"image": "a", "secret": "hunter2"}`, `{"image": "a", "secret": "hunter3"}`, []string{"values.secret: wanted the value that there was before, since the variable cannot be changed, found another, not shown"}},
		"a sensitive one that is set":              {`{"image": "a"}`, `{"image": "a", "secret": "hunter3"}`, []string{"values.secret: wanted the value that there was before"}},
		"a sensitive struct":                       {`{"image": "a", "account": {"pass": "hunter2"}}`, `{"image": "a", "account": {"pass": "hunter3"}}`, []string{"values.account: wanted the value that there was before"}},
		"the same number written in another way":   {`{"image": "a", "count": 2}`, `{"image": "a", "count": 2.0}`, nil},
		"another number":                           {`{"image": "a", "count": 2}`, `{"image": "a", "count": 2.5}`, []string{"values.count: wanted 2 as before, since the variable cannot be changed, found 2.5"}},
		"a variable of a condition":                {`{"image": "a", "region": "us"}`, `{"image": "a", "region": "us", "zone": "b"}`, []string{`values.zone: wanted "a" as before`}},
		"values before that do not fit any longer": {`{"gone": 1}`, `{"image": "a", "region": "us"}`, nil},
		"values after that do not fit":             {`{"image": "a"}`, `{"image": "a", "region": "moon"}`, nil},
		"values that are no JSON":                  {`{"image": "a"}`, `{`, nil},
	} {
		t.Run(name, func(t *testing.T) {
			err := tpl.Immutable([]byte(c.was), []byte(c.now))
			var wrong *ValuesError
			if err != nil && !errors.As(err, &wrong) {
				t.Fatalf("wanted a ValuesError, got %v", err)
			}
			var lines []string
			if err != nil {
				lines = strings.Split(err.Error(), "\n")
			}
			if len(lines) != len(c.want) {
				t.Fatalf("wanted %d lines, got %v", len(c.want), err)
			}
			for i, l := range lines {
				if !strings.HasPrefix(l, c.want[i]) || strings.Contains(l, "hunter") {
					t.Errorf("wanted a line that begins with %q and repeats no secret, got %q", c.want[i], l)
				}
			}
		})
	}
}
