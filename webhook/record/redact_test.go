package record

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"tidegate.io/tidegate/policies/eval"
	"tidegate.io/tidegate/schemas/v1alpha1"
	"tidegate.io/tidegate/webhook"
)

// free wants none of the secrets in a text, however they are written.
func free(t testing.TB, what string, text []byte, secrets ...string) {
	t.Helper()
	// What is base64 may hold more base64, at any offset.
	texts := []string{string(text)}
	for range 3 {
		last := texts[len(texts)-1]
		var b strings.Builder
		for _, word := range append(encoded.FindAllString(last, -1), segment.FindAllString(last, -1)...) {
			for _, e := range []*base64.Encoding{base64.StdEncoding, base64.RawStdEncoding, base64.URLEncoding, base64.RawURLEncoding} {
				if raw, err := e.DecodeString(word); err == nil {
					b.Write(raw)
					b.WriteString("\n")
				}
			}
		}
		texts = append(texts, b.String())
	}
	for _, s := range secrets {
		for _, form := range []string{
			s, base64.StdEncoding.EncodeToString([]byte(s)), base64.RawURLEncoding.EncodeToString([]byte(s)), hex.EncodeToString([]byte(s)),
			url.QueryEscape(s), strings.Trim(strconv.Quote(s), `"`),
		} {
			for depth, in := range texts {
				if i := strings.Index(in, form); i >= 0 {
					t.Errorf("%s: wanted no %q as %q (base64 %d times), found: %s", what, s, form, depth, in[max(0, i-60):min(len(in), i+len(form)+60)])
					return
				}
			}
		}
	}
}

// echo repeats whatever it is shown, in messages and details.
var echo = eval.Source{
	Name: "echo", At: []v1alpha1.PolicyMoment{v1alpha1.AtAdmission, v1alpha1.AtRelease},
	Rego: "package echo\ndeny contains json.marshal(input)\nwarn contains sprintf(\"%v\", [input])\nwarn contains base64.encode(json.marshal(input.object))",
}

func quoted(v any) string {
	raw, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return string(raw)
}

func TestNoSecretOfAReviewIsInTheRecord(t *testing.T) {
	const s = "hunter2-Tr0ub4dor"
	pem := "-----BEGIN RSA PRIVATE KEY-----\nMIIEowIBAAKCAQEA1234567890abcdefgh\nZZZZowIBAAKCAQEA0987654321\n-----END RSA PRIVATE KEY-----"
	pod := func(container string) string {
		return `{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"x","namespace":"shop"},"spec":{"template":{"spec":{"containers":[{"name":"main",` + container + `}]}}}}`
	}
	headed := strings.Replace(pem, "KEY-----\n", "KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,0123456789ABCDEF\n\n", 1)
	pgp := "-----BEGIN PGP PRIVATE KEY BLOCK-----\nVersion: GnuPG v2 - test\n\nlQOYBFakeFake1234567890abcdefghij\nZZZZFakeFake0987654321\n=AbCd\n-----END PGP PRIVATE KEY BLOCK-----"
	file := func(text string) string {
		return `{"kind":"ConfigMap","metadata":{"name":"x"},"data":{"app.cnf":` + quoted(text) + `}}`
	}
	b64 := func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }
	last := func(object string) string {
		return `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"x","annotations":{"kubectl.kubernetes.io/last-applied-configuration":` + quoted(object) + `}}}`
	}
	for name, tc := range map[string]struct {
		object  string
		old     string
		release bool
		secrets []string
		// other is true where the answer cannot be masked as the object is: it is cut within three
		// bytes of the secret, or has a line of one in base64 at a place of its own.
		other bool
	}{
		"the data of a Secret":                     {object: `{"kind":"Secret","metadata":{"name":"x"},"data":{"a":"` + b64(s) + `"}}`, secrets: []string{s}},
		"the text of a Secret":                     {object: `{"kind":"Secret","metadata":{"name":"x"},"stringData":{"a":"` + s + `"}}`, secrets: []string{s}},
		"a Secret that is deleted":                 {old: `{"kind":"Secret","metadata":{"name":"x"},"data":{"a":"` + b64(s) + `"}}`, secrets: []string{s}},
		"the data of a Secret that is no text":     {object: `{"kind":"Secret","metadata":{"name":"x"},"data":{"a":"` + b64("\xff\x00\xfe"+s) + `"}}`, secrets: []string{s}},
		"a login to a registry, within a Secret":   {object: `{"kind":"Secret","metadata":{"name":"x"},"data":{".dockerconfigjson":"` + b64(`{"auths":{"r":{"auth":"`+b64("bot:"+s)+`"}}}`) + `"}}`, secrets: []string{s}},
		"what kubectl keeps of a Secret":           {object: last(`{"kind":"Secret","data":{"a":"` + b64(s) + `"},"stringData":{"b":"other-` + s + `"}}`), secrets: []string{s}},
		"what kubectl keeps, elsewhere than now":   {object: last(pod(`"env":[{"name":"DB_PASSWORD","value":"` + s + `"}]`)), secrets: []string{s}, other: true},
		"a variable whose name says it":            {object: pod(`"env":[{"name":"DB_PASSWORD","value":"` + s + `"}]`), secrets: []string{s}},
		"a variable that repeats another's":        {object: pod(`"env":[{"name":"API_KEY","value":"` + s + `"},{"name":"URL","value":"https://h/?k=` + s + `"}]`), secrets: []string{s}},
		"a variable that repeats it as base64":     {object: pod(`"env":[{"name":"API_KEY","value":"` + s + `"},{"name":"HEADER","value":"x ` + b64("bot:"+s) + ` y"}]`), secrets: []string{s}, other: true},
		"a variable that repeats it twice encoded": {object: pod(`"env":[{"name":"API_KEY","value":"` + s + `"},{"name":"HEADER","value":"` + b64("z "+b64("bot:"+s)) + `"}]`), secrets: []string{s}},
		"a number":                                  {object: pod(`"env":[{"name":"PIN_TOKEN","value":48151623}]`), secrets: []string{"48151623"}},
		"signs that JSON and Go escape":             {object: pod(`"env":[{"name":"DB_PASSWORD","value":` + quoted("a\"b<c>&\n\\d€"+s) + `}]`), secrets: []string{"a\"b<c>&\n\\d€" + s, s}},
		"an argument with a name":                   {object: pod(`"args":["--db-password=` + s + `"]`), secrets: []string{s}},
		"an argument behind its name":               {object: pod(`"args":["--db-password","` + s + `"]`), secrets: []string{s}},
		"an argument of a shell":                    {object: pod(`"args":["sh","-c","export TOKEN='` + s + `'; run"]`), secrets: []string{s}},
		"a URL":                                     {object: pod(`"env":[{"name":"DB","value":"postgres://bot:` + s + `@db/x"}]`), secrets: []string{s}},
		"a key in a ConfigMap":                      {object: `{"kind":"ConfigMap","metadata":{"name":"x"},"data":{"app.yaml":` + quoted("db:\n  password: "+s+"\n") + `}}`, secrets: []string{s}},
		"a private key":                             {object: `{"kind":"ConfigMap","metadata":{"name":"x"},"data":{"k":` + quoted(pem) + `}}`, secrets: []string{"MIIEowIBAAKCAQEA1234567890abcdefgh", "ZZZZowIBAAKCAQEA0987654321"}},
		"a private key, indented":                   {object: `{"kind":"ConfigMap","metadata":{"name":"x"},"data":{"k":` + quoted("a:\n  "+strings.ReplaceAll(pem, "\n", "\n  ")) + `}}`, secrets: []string{"MIIEowIBAAKCAQEA1234567890abcdefgh", "ZZZZowIBAAKCAQEA0987654321"}},
		"a name that is short for it":               {object: pod(`"env":[{"name":"DB_PASS","value":"` + s + `"}]`), secrets: []string{s}},
		"one in another spelling":                   {object: pod(`"env":[{"name":"dbPwd","value":"` + s + `"}]`), secrets: []string{s}},
		"a name that goes on":                       {object: pod(`"env":[{"name":"SECRET_KEY_BASE","value":"` + s + `"},{"name":"DB_PASSWORD_PRIMARY","value":"other-` + s + `"}]`), secrets: []string{s}},
		"an argument with a short name":             {object: pod(`"args":["--pass=` + s + `"]`), secrets: []string{s}},
		"an argument of two words":                  {object: pod(`"args":["--password=correct horse ` + s + `"]`), secrets: []string{"correct", "horse", s}},
		"XML":                                       {object: file("<db><password>" + s + "</password></db>"), secrets: []string{s}},
		"XML with an attribute":                     {object: file("<db><password enc='no'>" + s + "</password><x secret='other-" + s + "'/></db>"), secrets: []string{s}},
		"a text of several lines in YAML":           {object: file("db:\n  password: |-\n    " + s + "\n    horse\n  host: there\n"), secrets: []string{s, "horse"}},
		"a list in YAML":                            {object: file("tokens:\n  - " + s + "\n  - 'other " + s + "'\n"), secrets: []string{s}},
		"a sentence in YAML":                        {object: file("db:\n  password: correct horse " + s + "\n  host: there\n"), secrets: []string{"correct", "horse", s}},
		"a sentence in quotes":                      {object: file(`{"db": {"password": "correct horse ` + s + `"}, }`), secrets: []string{"correct", "horse", s}},
		"a key with headers":                        {object: file(headed), secrets: []string{"AES-128-CBC", "MIIEowIBAAKCAQEA1234567890abcdefgh", "ZZZZowIBAAKCAQEA0987654321"}},
		"a key of PGP":                              {object: file(pgp), secrets: []string{"lQOYBFakeFake1234567890abcdefghij", "ZZZZFakeFake0987654321"}, other: true},
		"a key that is cut off":                     {object: file("-----BEGIN RSA PRIVATE KEY-----\nMIIEowIBAAKCAQEA1234567890abcdefgh\nZZ-ZZowIBAAKCAQEA0987654321"), secrets: []string{"MIIEowIBAAKCAQEA1234567890abcdefgh", "ZZowIBAAKCAQEA0987654321"}},
		"a signed token":                            {object: pod(`"env":[{"name":"X","value":"eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJib3QtMTIzNDU2In0.c2lnbmF0dXJlLXNpZ25hdHVyZQ"}]`), secrets: []string{"eyJhbGciOiJIUzI1NiJ9", "eyJzdWIiOiJib3QtMTIzNDU2In0", "c2lnbmF0dXJlLXNpZ25hdHVyZQ"}},
		"a header":                                  {object: pod(`"env":[{"name":"X","value":"Authorization: Bearer ` + s + `"}]`), secrets: []string{s}},
		"a field of a foreign kind":                 {object: `{"kind":"Database","metadata":{"name":"x"},"spec":{"auth":{"clientSecret":"` + s + `"}}}`, secrets: []string{s}},
		"a value that the template calls sensitive": {object: release("cart", "web", `{"name":"cart","token":"hunterqq"}`), release: true, secrets: []string{"hunterqq"}},
		"values below one that is sensitive, names of fields too": {object: release("cart", "web", `{"map":{"topsecretkey":"topsecretvalue"}}`), release: true, secrets: []string{"topsecretkey", "topsecretvalue"}},
		"a value whose name alone says it":                        {object: release("cart", "gone", `{"password":"`+s+`"}`), release: true, secrets: []string{s}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newCluster(t, interceptor.Funcs{})
			if err := c.policies.Put(echo); err != nil {
				t.Fatal(err)
			}
			q := review{op: create, resource: "configmaps", kind: "ConfigMap", name: "x", user: writer, object: tc.object, old: tc.old}
			path := webhook.PathGate
			switch {
			case tc.release:
				q, path = tidegates("releases", "Release", q), webhook.PathTidegate
			case tc.object == "":
				q.op = del
			}
			body := q.json(t)
			if v := c.ask(t, path, body); v.Allowed {
				t.Fatal("wanted a refusal")
			}
			r, text := c.recorded(t)
			free(t, name, text, tc.secrets...)
			if len(r.Redacted) == 0 {
				t.Error("wanted to be told where secrets were")
			}
			// What echoes encodes anew: the verdict is the same where its words are.
			c.same(t, r)
			if !tc.other && !strings.Contains(string(body), "gone") && r.RedactedVerdictDiffers {
				t.Errorf("wanted the same verdict, found another: %s", strings.Join(r.Verdict.Diff(r.Want()), "\n"))
			}
		})
	}
}

func TestWhatOnlySoundsSecretStays(t *testing.T) {
	for name, text := range map[string]string{
		"where it is":        "passwordFile: /etc/db/credentials\n",
		"how long it lasts":  "token_ttl: thirty-minutes\n",
		"names below it":     "secrets:\n  provider: thevault\n",
		"what follows it":    "db:\n  password: |\n    $(DB)\n  provider: thevault\n",
		"a reference":        "password: $(DB_PASSWORD) # provider\n",
		"a word with it":     "bypass: provider\ncompass: thevault\n",
		"a working folder":   "PWD=/srv/provider\n",
		"an empty one":       "password: \"\"\nprovider: thevault\n",
		"an element of XML":  "<tokenUrl>https://provider.example.com</tokenUrl>",
		"a URL without one":  "https://provider.example.com:8443/x@y",
		"a public key":       "-----BEGIN PUBLIC KEY-----\nabcd\n-----END PUBLIC KEY-----",
		"what looks like it": "key: provider\n",
	} {
		var f finder
		f.object("object", map[string]any{"kind": "ConfigMap", "data": map[string]any{"app.conf": text}})
		if len(f.secrets) > 0 {
			t.Errorf("%s: wanted nothing, found %q", name, f.secrets)
		}
	}
}

func TestAReferenceIsNoSecret(t *testing.T) {
	for _, value := range []string{"vault:secret/data/shop#password", "$(DB_PASSWORD)", "ref+vault://secret/shop", "op://vault/shop/password", "true"} {
		c := newCluster(t, interceptor.Funcs{})
		if err := c.policies.Put(echo); err != nil {
			t.Fatal(err)
		}
		c.ask(t, webhook.PathGate, deployment(review{op: create, user: writer, object: `{"kind":"Deployment","spec":{"template":{"spec":{"containers":[{"env":[{"name":"DB_PASSWORD","value":"` + value + `"}]}]}}}}`}).json(t))
		if r, text := c.recorded(t); !bytes.Contains(text, []byte(value)) || len(r.Redacted) > 0 {
			t.Errorf("wanted %q to stay, found %q", value, r.Redacted)
		}
	}
}

// A part of a secret that the webhook's answer shows, since it cuts long lines, is none of the record.
func TestWhatIsLeftOfASecretAtACutIsMasked(t *testing.T) {
	const s = "hunter2-Tr0ub4dor"
	m, err := newMask([]byte("key"), []string{s})
	if err != nil {
		t.Fatal(err)
	}
	to := m.text(s)
	b64 := func(s string) string { return base64.RawStdEncoding.EncodeToString([]byte(s)) }
	for name, tc := range map[string][2]string{
		"its beginning before one":     {`"` + s[:9] + ` ... (12 bytes) ... rest`, `"` + to[:9] + ` ... (12 bytes) ... rest`},
		"its end behind one":           {`rest ... (12 bytes) ... ` + s[9:] + `"`, `rest ... (12 bytes) ... ` + to[9:] + `"`},
		"both, and in between":         {s[:6] + ` ... (1 bytes) ... ` + s[10:] + " " + s[:5] + ` ... (2 bytes) ... `, to[:6] + ` ... (1 bytes) ... ` + to[10:] + " " + to[:5] + ` ... (2 bytes) ... `},
		"its beginning in base64":      {b64("bot:"+s[:11]) + ` ... (12 bytes) ... rest`, b64("bot:"+to[:11]) + ` ... (12 bytes) ... rest`},
		"its end in base64":            {`rest ... (12 bytes) ... ` + b64(s[5:]+" y"), `rest ... (12 bytes) ... ` + b64(to[5:]+" y")},
		"nothing of it":                {`wanted ... (12 bytes) ... rest`, `wanted ... (12 bytes) ... rest`},
		"its beginning elsewhere":      {`"` + s[:9] + ` ... rest`, `"` + s[:9] + ` ... rest`},
		"a whole one, which is no end": {s + ` ... (12 bytes) ... ` + s, to + ` ... (12 bytes) ... ` + to},
	} {
		if got := m.answer(tc[0]); got != tc[1] {
			t.Errorf("%s: %q: wanted %q, found %q", name, tc[0], tc[1], got)
		}
	}
}

func TestAVerdictThatRestsOnASecretSaysSo(t *testing.T) {
	c := newCluster(t, interceptor.Funcs{})
	if err := c.policies.Put(eval.Source{Name: "known", Rego: "package p\ndeny contains \"the password of the handbook\" if startswith(input.object.spec.password, \"hun\")"}); err != nil {
		t.Fatal(err)
	}
	c.ask(t, webhook.PathGate, deployment(review{op: create, user: writer, object: `{"kind":"Deployment","spec":{"password":"hunter2"}}`}).json(t))
	r, _ := c.recorded(t)
	if !r.RedactedVerdictDiffers || r.RedactedVerdict == nil || !r.RedactedVerdict.Allowed || r.Verdict.Allowed {
		t.Errorf("wanted another verdict without the secret, found %v %+v", r.RedactedVerdictDiffers, r.RedactedVerdict)
	}
	c.same(t, r)
	// What the policy itself knows of the secret is replaced in it too.
	if err := c.policies.Put(eval.Source{Name: "known", Rego: "package p\ndeny contains \"the password of the handbook\" if input.object.spec.password == \"hunter2\""}); err != nil {
		t.Fatal(err)
	}
	c.ask(t, webhook.PathGate, deployment(review{op: create, user: writer, object: `{"kind":"Deployment","spec":{"password":"hunter2"}}`}).json(t))
	r, text := c.recorded(t)
	free(t, "the policy", text, "hunter2")
	if r.RedactedVerdictDiffers {
		t.Errorf("wanted the same verdict, found %+v", r.RedactedVerdict)
	}
	c.same(t, r)
}

func TestTheMaskKeepsLengthAndKind(t *testing.T) {
	m, err := newMask([]byte("key"), []string{"Ab3-xyz!", "AKIAIOSFODNN7EXAMPLE", "7", "ab", "grüße", "xxx", "!!!!"})
	if err != nil {
		t.Fatal(err)
	}
	for secret, other := range m.whole {
		if secret == other {
			t.Errorf("%q stays", secret)
		}
	}
	for secret, like := range map[string]string{"Ab3-xyz!": `^[A-Z][a-z][1-9]-[a-z]{3}!$`, "AKIAIOSFODNN7EXAMPLE": `^AKIA[A-Z]{8}[1-9][A-Z]{7}$`, "7": `^[1-9]$`} {
		if got := m.text(secret); !matches(like, got) {
			t.Errorf("%q: wanted %s, found %q", secret, like, got)
		}
	}
	for text, wanted := range map[string]string{"a table of 17": "a table of 17", "cab": "cab"} {
		if got := m.text(text); got != wanted {
			t.Errorf("a short secret is replaced within a word: %q", got)
		}
	}
	if got := m.text(`wanted "ab"`); strings.Contains(got, "ab") {
		t.Errorf("a short secret stays where it is quoted: %q", got)
	}
	other, err := newMask([]byte("another key"), []string{"Ab3-xyz!"})
	if err != nil {
		t.Fatal(err)
	}
	if m.text("Ab3-xyz!") == other.text("Ab3-xyz!") {
		t.Error("two records have the same text for a secret")
	}
	if _, err := newMask(nil, make([]string, maxSecrets+1)); err == nil {
		t.Error("wanted too many secrets to be refused")
	}
}

func matches(pattern, s string) bool { return regexp.MustCompile(pattern).MatchString(s) }
