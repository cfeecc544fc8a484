package render

import (
	"strings"
	"testing"
)

// hunter is what the tests set sensitive variables to; no message may have it, nor its
// capital letters.
const hunter = "Hunter2Secret"

func TestSensitiveValuesAreNeverRepeated(t *testing.T) {
	tpl := compile(t, testdata(t, "secrets.cue"))
	for name, c := range map[string]struct {
		values string
		// want is how the error begins.
		want string
	}{
		"a string that does not match":            {`{"token": "Hunter2Secret"}`, "values.token: wanted a string matching ^[a-z]{8}$, found something that is not shown"},
		"a number out of range":                   {`{"pin": 424242}`, "values.pin: wanted an integer from 1000 to 9999, found something that is not shown"},
		"a number of too many digits":             {`{"pin": 42424242424242424242424242424242424242424242}`, "values.pin: wanted a number of at most 40 digits"},
		"a number with an exponent":               {`{"pin": 424242e9}`, "values.pin: wanted a number without an exponent, found something"},
		"a number of more than 64 bits":           {`{"pin": 4242424242424242424242}`, "values.pin: wanted an integer of 64 bits"},
		"a number for a string":                   {`{"token": 424242}`, "values.token: wanted a string"},
		"a word that is none of a few":            {`{"level": "Hunter2Secret"}`, `values.level: wanted one of "low", "high"`},
		"a word that is nearly one of a few":      {`{"level": "hihg"}`, `values.level: wanted one of "low", "high", found something`},
		"a string for a boolean":                  {`{"open": "Hunter2Secret"}`, "values.open: wanted true or false"},
		"the author's words with the value":       {`{"words": "Hunter2Secret"}`, "values.words: wanted small letters, not (sensitive), found something"},
		"the author's words with another's value": {`{"plain": "A1", "token": "` + strings.ToLower(hunter)[:6] + `aa"}`, "values.plain: wanted small letters for (sensitive), found \"A1\""},
		"a secret by definition":                  {`{"named": "Hunter2Secret"}`, "values.named: wanted a string matching"},
		"a secret by a definition in another":     {`{"far": 424242}`, "values.far: wanted a string of at least 6 characters"},
		"an object for a string":                  {`{"token": {"Hunter2Secret": "Hunter2Secret"}}`, "values.token: wanted a string matching"},
		"a list for a string":                     {`{"token": ["Hunter2Secret"]}`, "values.token: wanted a string matching"},
		"in a struct that is sensitive":           {`{"login": {"user": 424242, "pass": "Hunter2Secret"}}`, "values.login.pass: wanted a string matching"},
		"missing beside what is wrong":            {`{"login": {"pass": "Hunter2Secret"}}`, "values.login.pass: wanted"},
		"deep in a struct that is sensitive":      {`{"login": {"user": "x", "pass": "x", "hosts": [{"name": "Hunter2Secret"}]}}`, "values.login.hosts[0].name: wanted"},
		"an unknown name in a sensitive struct":   {`{"login": {"user": "x", "pass": "x", "Hunter2Secret": 1}}`, "values.login[*]: wanted the names that the template allows, found another"},
		"an unknown name that sets a secret":      {`{"tokn": "Hunter2Secret"}`, `values.tokn: wanted a variable of the template`},
		"a struct that says it is sensitive":      {`{"account": {"user": "x", "password": "Hunter2Secret"}}`, "values.account.password: wanted"},
		"a scalar for a sensitive struct":         {`{"account": "Hunter2Secret"}`, "values.account: wanted an object"},
		"a scalar for a struct with a secret":     {`{"people": "Hunter2Secret"}`, "values.people: wanted a list, found something that is not shown"},
		"a scalar for an item with a secret":      {`{"people": ["Hunter2Secret"]}`, "values.people[0]: wanted an object, found something that is not shown"},
		"a scalar for a choice with secrets":      {`{"store": "Hunter2Secret"}`, "values.store: wanted an object"},
		"a number for a choice with secrets":      {`{"store": 424242}`, "values.store: wanted an object"},
		"a list for a choice with secrets":        {`{"store": ["Hunter2Secret"]}`, "values.store: wanted an object"},
		"an item of a sensitive list":             {`{"keys": ["x", "Hunter2Secret"]}`, "values.keys[1]: wanted a string matching"},
		"a sensitive list that is too long":       {`{"keys": ["x", "y", "huntertwo"]}`, "values.keys: wanted a list of at most 2 items"},
		"an item by definition":                   {`{"each": ["Hunter2Secret"]}`, "values.each[0]: wanted a string matching"},
		"an item twice":                           {`{"unique": ["Hunter2Secret", "Hunter2Secret"]}`, "values.unique: wanted a list with no item twice"},
		"a key of a sensitive map":                {`{"map": {"Hunter2Secret": "x"}}`, "values.map[*]: wanted the names that the template allows"},
		"a value of a sensitive map":              {`{"map": {"huntersecret": 424242}}`, "values.map[*]: wanted a string"},
		"a key of a sensitive map twice":          {`{"map": {"Hunter2Secret": "x", "Hunter2Secret": "y"}}`, "values.map: wanted the key once"},
		"a value of a map of secrets":             {`{"mapped": {"one": "Hunter2Secret"}}`, "values.mapped.one: wanted a string matching"},
		"a field of an object in a list":          {`{"people": [{"name": "x", "phone": "Hunter2Secret"}]}`, "values.people[0].phone: wanted a string matching"},
		"a bound that is a secret":                {`{"pin": 4242, "over": 1}`, "values.over: wanted what goes with the other variables, found 1"},
		"a value that must equal a secret":        {`{"token": "huntersa", "again": "x"}`, "values.again: wanted what goes with the other variables"},
		"the field of one arm of a choice":        {`{"store": {"type": "bucket", "key": "Hunter2Secret"}}`, "values.store.key: wanted a string matching ^k"},
		"a choice that does not exist":            {`{"store": {"type": "tape", "key": "Hunter2Secret"}}`, "values.store"},
		"fields of both arms of a choice":         {`{"store": {"type": "disk", "path": "Hunter2Secret", "key": "Hunter2Secret"}}`, "values.store"},
		"a choice that is not made":               {`{"store": {"path": 424242, "key": 424242}}`, "values.store"},
		"a field that another makes possible":     {`{"mode": "basic", "password": "Hunter2Secret"}`, "values.password: wanted a string matching"},
		"a field that nothing makes possible":     {`{"password": "Hunter2Secret"}`, "values.password: wanted a variable that goes with the others"},
		"a rule that the engine alone knows":      {`{"sum": [424242, 1]}`, "values"},
		"text after the object":                   {`{"token": "Hunter2Secret"} "Hunter2Secret"`, "values: wanted one JSON object"},
		"text that breaks off":                    {`{"token": "Hunter2Secret`, "values"},
		"another mistake with the same text":      {`{"token": "huntersa", "name": 3, "huntersa": 1}`, "values.name: wanted a string, found 3; put it in quotes: \"3\"\nvalues[*]: wanted the names"},
		"a field of an object that conflicts":     {`{"breakObject": "Hunter2Secret"}`, "t.cue:"},
		"a field that Kubernetes does not have":   {`{"breakKey": "Hunter2Secret"}`, "objects.deployment"},
		"a value of the wrong type for a field":   {`{"breakField": "Hunter2Secret"}`, ""},
		"a kind that is not allowed":              {`{"breakKind": "Hunter2Secret"}`, "objects.other: wanted what Kubernetes and the template allow, found a mistake whose words are not shown"},
		"a number that Kubernetes does not allow": {`{"breakCount": 424242}`, "objects.deployment"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := tpl.Render([]byte(c.values), cart)
			if err == nil {
				t.Fatal("wanted an error")
			}
			if !strings.HasPrefix(err.Error(), c.want) {
				t.Errorf("wanted an error that begins with %q, got %v", c.want, err)
			}
			message := err.Error()
			for _, p := range []string{"values.huntersa: ", "values.tokn: "} {
				message = strings.TrimPrefix(message, p)
			}
			for _, secret := range []string{"hunter", "424242", "4242", "hihg"} {
				if strings.Contains(strings.ToLower(message), secret) {
					t.Errorf("wanted no %s in the message, got %v", secret, err)
				}
			}
		})
	}
}

func TestWhatIsNotSensitiveIsShown(t *testing.T) {
	tpl := compile(t, testdata(t, "secrets.cue"))
	for values, want := range map[string]string{
		`{"name": 3, "token": "hunterab"}`:                 `values.name: wanted a string, found 3; put it in quotes: "3"`,
		`{"people": [{"name": 5, "phone": "1234"}]}`:       `values.people[0].name: wanted a string, found 5; put it in quotes: "5"`,
		`{"mode": "basik", "token": "hunterab"}`:           `values.mode: wanted one of "none", "basic", found "basik"; did you mean "basic"?`,
		`{"sizes": "x", "token": "hunterab"}`:              `values.sizes: wanted an object, found "x"`,
		`{"store": {"type": "dsik", "path": "/hunterab"}}`: `values.store.type: wanted one of "disk", "bucket", found "dsik"; did you mean "disk"?`,
	} {
		_, err := tpl.Render([]byte(values), cart)
		if err == nil || err.Error() != want {
			t.Errorf("%s: wanted %s, got %v", values, want, err)
		}
	}
}

// Short is a template whose sensitive variables can be a letter or a digit, as what others
// want can be. What these want may be made of a sensitive one in many ways.
const short = `package t

#Variables: {
	token?: string @sensitive()
	pin?:   int @sensitive()
	mode:   *"a" | "b"
	count:  *2 | int & >=1 & <=7
	list?: [...string]
	need?: {name!: =~"^a b$"}

	_held: pin
	let kept = pin
	#Most:     <=pin
	beside?:   int & <=pin
	hidden?:   int & <=_held
	let?:      int & <=kept
	defined?:  int & #Most
	#Twice:    <=(pin * 2)
	#Most2:    #Twice
	twice?:    int & #Twice
	chosen2?:  int & (<0 | #Twice)
	farther?:  int & #Most2
	spread?:   {deep?: int & #Twice}
	listed?:   [...int & #Twice]
	counted?:  int & <=len([for i in [1, 2, 3, 4, 5, 6, 7, 8, 9] if i <= pin {i}])
	matched?:  =~"^\(token)-"
	within?:   {deep?: int & <=pin}
	entries?:  [string]: int & <=pin
	items?:    [...int & <=pin]
	if pin == 7 {
		chosen?: int & <=pin
	}
	for bound in [pin] {
		looped?: int & <=bound
	}
}
values: #Variables
#Context: {name: string, namespace: string}
context: #Context
objects: {}
rollout: {}
`

// A secret of one letter is in most messages, of which it says nothing.
func TestAShortSecretHidesNoMessageThatIsNotMadeOfIt(t *testing.T) {
	tpl := compile(t, short)
	for values, want := range map[string]string{
		`{"token": "a", "mode": "c"}`:          `values.mode: wanted one of "a", "b", found "c"`,
		`{"token": "a", "nosuchname": 0}`:      `values.nosuchname: wanted a variable of the template, found the unknown name "nosuchname"; known here: `,
		`{"token": "a", "list": "x"}`:          `values.list: wanted a list, found "x"`,
		`{"token": "a", "list": {}}`:           `values.list: wanted a list, found an object of 0 entries`,
		`{"token": "a", "need": {}}`:           `values.need.name: wanted a string matching ^a b$, found nothing; set name`,
		`{"token": ["a"]}`:                     `values.token: wanted a string, found something that is not shown`,
		`{"pin": 1, "count": 8}`:               `values.count: wanted an integer from 1 to 7, found 8`,
		`{"pin": 7, "count": 8}`:               `values.count: wanted an integer from 1 to 7, found 8`,
		`{"token": "wanted", "count": "many"}`: `values.count: wanted an integer from 1 to 7, found "many"`,
	} {
		_, err := tpl.Render([]byte(values), cart)
		if err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%s: wanted %s, got %v", values, want, err)
		}
	}
}

func TestAShortSecretIsNotToldByWhatOthersWant(t *testing.T) {
	tpl := compile(t, short)
	for _, set := range []string{
		`"beside": 9`, `"hidden": 9`, `"let": 9`, `"defined": 9`, `"counted": 9`, `"within": {"deep": 9}`, `"entries": {"x": 9}`, `"items": [9]`, `"chosen": 9`, `"looped": 9`, `"matched": "x"`,
		`"twice": 15`, `"chosen2": 15`, `"farther": 15`, `"spread": {"deep": 15}`, `"listed": [15]`,
	} {
		_, err := tpl.Render([]byte(`{"pin": 7, "token": "q", `+set+`}`), cart)
		if err == nil || strings.Contains(err.Error(), "7") || strings.Contains(err.Error(), "14") || repeats(err.Error(), []string{"q"}) || strings.Contains(err.Error(), "^q") {
			t.Errorf("%s: wanted an error without the sensitive values, got %v", set, err)
		}
	}
}

// What stands in the source is no secret: a message names the object by it.
func TestAMistakeThatASecretMakesNamesItsObject(t *testing.T) {
	source := strings.Replace(testdata(t, "plain.cue"), "image!:   string", "image!:   string\n\tpassword?: string @sensitive()", 1)
	for what, c := range map[string]struct{ old, new, want string }{
		"a kind":   {`kind:       "Deployment"`, `kind: values.password`, "objects.deployment: wanted what Kubernetes and the template allow, "},
		"a name":   {`metadata: name: context.name`, `metadata: name: values.password`, "objects.route: wanted what Kubernetes and the template allow, "},
		"a number": {`replicas: values.replicas`, `replicas: values.password`, "objects.deployment (Deployment cart-"},
	} {
		t.Run(what, func(t *testing.T) {
			_, err := compile(t, strings.Replace(source, c.old, c.new, 1)).Render([]byte(`{"image": "a:1", "password": "`+hunter+` x"}`), cart)
			if err == nil || !strings.HasPrefix(err.Error(), c.want) || strings.Contains(err.Error(), hunter) {
				t.Errorf("wanted %s and no secret, found %v", c.want, err)
			}
		})
	}
}
