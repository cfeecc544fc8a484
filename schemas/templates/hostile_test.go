package templates_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"
	_ "time/tzdata"

	"cuelang.org/go/cue/format"

	"tidegate.io/tidegate/schemas/render"
	"tidegate.io/tidegate/schemas/templates"
)

// least are values that the template called name renders, with more of them behind.
func least(name, more string) string {
	out := `{"image": "shop/cart:1"`
	if name == "job" {
		out += `, "schedule": "@daily"`
	}
	if more != "" {
		out += ", " + more
	}
	return out + "}"
}

// Values that fit one by one, and of which Kubernetes would refuse or silently merge what
// comes of them.
func TestWhatKubernetesWouldRefuseIsRefusedAtTheValues(t *testing.T) {
	all := templates.Names()
	configured := []string{"job", "stateful", "web-bluegreen", "worker"}
	const ref, far = `{"secret": "db", "key": "password"}`, `{"key": "shop/db"}`
	for name, c := range map[string]struct {
		templates    []string
		values, want string
	}{
		"a name in env and in secrets.env": {
			all, `"env": {"A": "b"}, "secrets": {"env": {"A": ` + ref + `}}`,
			`values.env.A: wanted a name that secrets.env does not set as well, found "b"`,
		},
		"a name in env and in secrets.external.env": {
			all, `"env": {"A": "b"}, "secrets": {"external": {"store": "s", "env": {"A": ` + far + `}}}`,
			`values.env.A: wanted a name that secrets.external.env does not set as well, found "b"`,
		},
		"a name in secrets.env and in secrets.external.env": {
			all, `"secrets": {"env": {"A": ` + ref + `}, "external": {"store": "s", "env": {"A": ` + far + `}}}`,
			`values.secrets.external.env.A: wanted a name that secrets.env does not set as well, found an object of 1 entry`,
		},
		"an external store of nothing": {
			all, `"secrets": {"external": {"store": "s", "env": {}}}`,
			`values.secrets.external.env: wanted at least one environment variable, found an object of 0 entries`,
		},
		"Vault without files": {
			all, `"secrets": {"vault": {"role": "r", "files": {}}}`,
			`values.secrets.vault.files: wanted at least one file, found an object of 0 entries`,
		},
		"Vault without a word about files": {
			all, `"secrets": {"vault": {"role": "r"}}`,
			`values.secrets.vault.files: wanted at least one file, found nothing; set files and what it needs`,
		},
		"a secret where Vault's files are": {
			all, `"secrets": {"files": {"/vault/secrets": "x"}, "vault": {"role": "r", "files": {"a": "b"}}}`,
			`values.secrets.files["/vault/secrets"]: wanted another folder than the one that the Vault agent mounts, found "x"`,
		},
		"a key of a Secret that none can have": {
			all, `"secrets": {"env": {"A": {"secret": "db", "key": ".."}}}`,
			`values.secrets.env.A.key: wanted a key of a Secret, such as password, found ".."`,
		},
		"a folder by a detour": {
			all, `"secrets": {"files": {"/etc/../app": "x"}}`,
			`values.secrets.files["/etc/../app"]: wanted a name matching ^(/\.?[a-zA-Z0-9_-][a-zA-Z0-9._-]{0,62}){1,12}$, found "/etc/../app"`,
		},
		"a time that no clock counts": {
			all, `"secrets": {"external": {"store": "s", "refresh": "9999999999h", "env": {"A": ` + far + `}}}`,
			`values.secrets.external.refresh: wanted a duration above zero, such as "30s" or "5m", found "9999999999h"`,
		},
		"an image's folder of two slashes": {
			all, `"resources": {"memory": "1Gi"}, "env": {"A": "b"}, "image": "shop//cart:1"`,
			`values.image: wanted an image with a tag or a digest, such as registry.example.com/shop/cart:1.4.2, found "shop//cart:1"`,
		},
		"a secret where the configuration files are": {
			configured, `"secrets": {"files": {"/etc/app": "x"}}`,
			`values.secrets.files["/etc/app"]: wanted a folder that nothing else is mounted at, found "x"`,
		},
		"a secret in place of a configuration file": {
			configured, `"config": {"tls": "a"}, "secrets": {"files": {"/etc/app/tls": "x"}}`,
			`values.secrets.files["/etc/app/tls"]: wanted a folder where no file is, found "x"`,
		},
		"a secret below a configuration file": {
			configured, `"config": {"tls": "a"}, "secrets": {"files": {"/etc/app/tls/ca": "x"}}`,
			`values.secrets.files["/etc/app/tls/ca"]: wanted a folder where no file is, found "x"`,
		},
		"no processor time at all": {
			all, `"resources": {"cpu": "0.00"}`,
			`values.resources.cpu: wanted an amount of processor time in quotes, such as "250m" or "2", found "0.00"`,
		},
		"a configuration file called .": {
			configured, `"config": {".": "a"}`,
			`values.config["."]: wanted a name matching ^\.?[a-zA-Z0-9_-][a-zA-Z0-9._-]{0,126}$, found "."`,
		},
		"a configuration file called ..": {
			configured, `"config": {"..": "a"}`,
			`values.config[".."]: wanted a name matching ^\.?[a-zA-Z0-9_-][a-zA-Z0-9._-]{0,126}$, found ".."`,
		},
		"a configuration file that the kubelet makes itself": {
			configured, `"config": {"..data": "a"}`,
			`values.config["..data"]: wanted a name matching ^\.?[a-zA-Z0-9_-][a-zA-Z0-9._-]{0,126}$, found "..data"`,
		},
		"a volume larger than a number": {
			[]string{"stateful"},
			`"storage": {"size": "9999999Ti"}`,
			`values.storage.size: wanted a size of a volume such as "10Gi", found "9999999Ti"`,
		},
		"a time zone of no place": {
			[]string{"job"},
			`"timeZone": "Mars/Olympus"`,
			`values.timeZone: wanted a time zone such as Europe/Berlin, found "Mars/Olympus"`,
		},
		"the time zone of the machine": {
			[]string{"job"},
			`"timeZone": "Local"`,
			`values.timeZone: wanted a time zone such as Europe/Berlin, found "Local"`,
		},
	} {
		for _, template := range c.templates {
			t.Run(name+"/"+template, func(t *testing.T) {
				text := least(template, c.values)
				if strings.Count(text, `"image"`) > 1 {
					text = strings.Replace(text, `"image": "shop/cart:1", `, "", 1)
				}
				_, err := compile(t, template).Render([]byte(text), cart)
				if err == nil || err.Error() != c.want {
					t.Errorf("wanted\n%s\ngot\n%v", c.want, err)
				}
			})
		}
	}
}

// What looks alike and is right.
func TestWhatKubernetesAcceptsIsAccepted(t *testing.T) {
	for name, c := range map[string]struct{ template, values string }{
		"other names in each":       {"web", `"env": {"A": "b"}, "secrets": {"env": {"B": {"secret": "db", "key": ".pw"}}, "external": {"store": "s", "env": {"C": {"key": "k"}}}}`},
		"folders beside each other": {"worker", `"config": {".app": "a"}, "secrets": {"files": {"/etc/apps": "x", "/etc/tls": "x"}}`},
		// The kubelet makes the folders that are mounted within others.
		"a secret within the configuration files": {"worker", `"config": {"tls.yaml": "a"}, "secrets": {"files": {"/etc/app/tls": "x"}}`},
		"a secret around the configuration files": {"worker", `"config": {"app": "a"}, "secrets": {"files": {"/etc": "x"}}`},
		"a secret where Vault's files would be":   {"web", `"secrets": {"files": {"/vault/secrets": "x"}}`},
		"half a core, written with a zero":        {"web", `"resources": {"cpu": "0.50"}`},
		"a thousandth of a core":                  {"web", `"resources": {"cpu": "0.001"}`},
		"a secret in the volume":                  {"stateful", `"secrets": {"files": {"/var/lib/app/tls": "x"}}`},
		"an image of many parts":                  {"web", `"image": "registry.example.com:5000/a-b/c__d/e.f:1_x@sha256:` + strings.Repeat("0a", 32) + `"`},
		"a zone of three parts":                   {"job", `"timeZone": "America/Argentina/Buenos_Aires"`},
		"a zone with a sign":                      {"job", `"timeZone": "Etc/GMT+3"`},
	} {
		t.Run(name, func(t *testing.T) {
			text := least(c.template, c.values)
			if strings.Count(text, `"image"`) > 1 {
				text = strings.Replace(text, `"image": "shop/cart:1", `, "", 1)
			}
			if _, err := compile(t, c.template).Render([]byte(text), cart); err != nil {
				t.Error(err)
			}
		})
	}
}

// Kubernetes reads schedules with github.com/robfig/cron, whose words these are.
func TestSchedules(t *testing.T) {
	tpl := compile(t, "job")
	fits := func(schedule string) bool {
		_, err := tpl.Render(fmt.Appendf(nil, `{"image": "shop/cart:1", "schedule": %q}`, schedule), cart)
		return err == nil
	}
	for _, right := range []string{
		"* * * * *", "? ? ? ? ?", "0 0 1 1 0", "59 23 31 12 6", "05 09 01 02 0", "*/15 * * * *", "5-59/10 * * * *", "0/5 * * * *",
		"0,15,30-45 * * * *", "0 9-17 * * *", "0 0-6,22-23 * * *", "0 0 1-31/2 * *", "0 0 1 JAN,jul *", "0 0 1 Mar-Oct *", "0 6 * * MON-FRI", "0 6 * * sun,3", "@hourly", "@daily", "@midnight",
		"@weekly", "@monthly", "@yearly", "@annually",
	} {
		if !fits(right) {
			t.Errorf("wanted %q accepted, found it refused", right)
		}
	}
	for _, wrong := range []string{
		"", "99 99 * * *", "60 * * * *", "* 24 * * *", "* * 0 * *", "* * 32 * *", "* * * 0 *", "* * * 13 *", "* * * * 7", "* * * *",
		"* * * * * *", " * * * * *", "*  * * * *", "*/0 * * * *", "30-10 * * * *", "* 5-5- * * *", "* 23-9 * * *", "* * 31-1 * *", "* * * 12-1 *", "* * * DEC-JAN *", "* * * * FRI-MON", "1,,2 * * * *",
		"-1 * * * *", "* * L * *", "* * * FOO *", "* * * * MONDAY", "JAN * * * *", "@never", "@reboot", "daily", "TZ=UTC * * * * *",
	} {
		if fits(wrong) {
			t.Errorf("wanted %q refused, found it accepted", wrong)
		}
	}
	// Every range of two numbers, in each field.
	for field, bounds := range [][2]int{{0, 59}, {0, 23}, {1, 31}, {1, 12}, {0, 6}} {
		for _, from := range []int{0, 1, 9, 10, 20, 29, 31, 59} {
			for _, to := range []int{0, 6, 7, 9, 12, 13, 19, 23, 24, 31, 32, 59, 60} {
				fields := []string{"1", "1", "1", "1", "1"}
				fields[field] = fmt.Sprintf("%d-%d", from, to)
				text := strings.Join(fields, " ")
				if want := bounds[0] <= from && from <= to && to <= bounds[1]; fits(text) != want {
					t.Errorf("%q: wanted accepted %v, found %v", text, want, !want)
				}
			}
		}
	}
}

// Names of all forms that the database has: parts, dashes, signs, and old ones.
func TestTimeZonesOfTheDatabaseAreAccepted(t *testing.T) {
	tpl := compile(t, "job")
	for _, zone := range []string{"UTC", "GMT", "Europe/Kyiv", "Asia/Kolkata", "America/Indiana/Knox", "America/Port-au-Prince", "Etc/GMT-14", "Pacific/Auckland", "US/Pacific", "Antarctica/DumontDUrville"} {
		if _, err := time.LoadLocation(zone); err != nil {
			t.Fatalf("%s is no time zone: %v", zone, err)
		}
		if _, err := tpl.Render([]byte(least("job", `"timeZone": "`+zone+`"`)), cart); err != nil {
			t.Errorf("%s: %v", zone, err)
		}
	}
}

// What an author who knows nothing of the rules gets from #Pod.
func TestAPodRefusesWhatWouldBeMerged(t *testing.T) {
	const source = `package t

import "tidegate.io/kit"

#Variables: {
	// The image.
	image!: kit.#Image
	// Variables.
	env: kit.#Env
	// Files.
	config: kit.#Config
	// Secrets.
	secrets: kit.#Secrets
}

#Context: kit.#Context
values:   #Variables
context:  #Context
_app: kit.#InPlace & {#with: facts: context}
_pod: kit.#Pod & {#with: {
	app: _app, image: values.image, env: values.env, config: values.config, configPath: "/etc/app"
	secrets: values.secrets, grace: 30
}}
objects: deployment: kit.#Deployment & {
	#with: {app: _app, replicas: 1}
	spec: template: _pod
}
rollout: kit.#Rolling & {#with: platform: kit.#Platform}
`
	formatted, err := format.Source([]byte(source))
	if err != nil {
		t.Fatal(err)
	}
	tpl, err := render.Compile(map[string]string{"t.cue": string(formatted)})
	if err != nil {
		t.Fatal(err)
	}
	cases := map[string]struct{ values, want string }{
		"a name twice":   {`{"image": "a:1", "env": {"A": "b"}, "secrets": {"env": {"A": {"secret": "s", "key": "k"}}}}`, "wanted each environment variable once"},
		"a folder twice": {`{"image": "a:1", "config": {"a": "b"}, "secrets": {"files": {"/etc/app": "s"}}}`, "wanted one thing at each folder"},
		"all apart":      {`{"image": "a:1", "env": {"A": "b"}, "config": {"a": "b"}, "secrets": {"files": {"/etc/tls": "s"}, "env": {"B": {"secret": "s", "key": "k"}}}}`, ""},
	}
	for _, name := range slices.Sorted(maps.Keys(cases)) {
		c := cases[name]
		t.Run(name, func(t *testing.T) {
			_, err := tpl.Render([]byte(c.values), cart)
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("wanted %q, got %v", c.want, err)
			}
		})
	}
}
