package render

import (
	"strings"
	"testing"
)

// triedTemplate renders a web service whatever the variables are; the deployment has room for
// what a row adds.
const triedTemplate = `package t

IMPORTS

#Variables: {
VARIABLES
}

#Context: {name: string, namespace: string, template: string, revision: string}

values:  #Variables
context: #Context

_set: "\(context.name)-\(context.revision)"
_pods: {"app.kubernetes.io/name": context.name, "tidegate.io/revision": context.revision}
objects: {
	config: {apiVersion: "v1", kind: "ConfigMap", metadata: name: _set, data: v: json.Marshal(values)}
	deployment: {
		apiVersion: "apps/v1", kind: "Deployment", metadata: name: _set
		spec: {
			ADDED
			selector: matchLabels: _pods
			template: {
				metadata: labels: _pods
				spec: containers: [{name: "app", image: "x:1", envFrom: [{configMapRef: name: _set}], ports: [{name: "http", containerPort: 8080}]}]
			}
		}
	}
	service: {apiVersion: "v1", kind: "Service", metadata: name: _set, spec: {selector: _pods, ports: [{port: 80, targetPort: "http"}]}}
	route: {
		apiVersion: "gateway.networking.k8s.io/v1", kind: "HTTPRoute", metadata: name: context.name
		spec: {parentRefs: [{name: "public"}], rules: [{backendRefs: [{name: _set, port: 80}]}]}
	}
}
rollout: {type: "canary", steps: [{setWeight: 25}, {setWeight: 100}]}
`

// tried vets a template with variables and with what a row adds to its deployment.
func tried(variables, added string) []Finding {
	imports := "import \"encoding/json\"\n"
	for _, p := range []string{"list", "math", "net", "strings", "time"} {
		if strings.Contains(variables, p+".") {
			imports += "import \"" + p + "\"\n"
		}
	}
	source := strings.NewReplacer("IMPORTS", imports, "VARIABLES", variables, "ADDED", added).Replace(triedTemplate)
	return Vet(map[string]string{"t.cue": source}, VetOptions{})
}

// A typo that shows only where a variable is set is found whatever has to be set.
func TestVetTriesWhatVariablesAccept(t *testing.T) {
	for name, row := range map[string]struct{ variables, added string }{
		"any text":                    {`team?: string`, `if values.team != _|_ {replcas: 3}`},
		"a prefix":                    {`team?: =~"^team-[a-z]+$"`, `if values.team != _|_ {replcas: 3}`},
		"capitals":                    {`team?: =~"^[A-Z]{3}$"`, `if values.team != _|_ {replcas: 3}`},
		"a list":                      {`teams: [...=~"^team-[a-z]+$"]`, `if len(values.teams) > 0 {replcas: 3}`},
		"the keys of a map":           {`teams: [=~"^TEAM_[A-Z]+$"]: string`, `for k, v in values.teams {replcas: 3}`},
		"a struct":                    {`db?: {host!: =~"^db-[0-9]+$"}`, `if values.db != _|_ {replcas: 3}`},
		"a quantity":                  {`mem?: =~"^[0-9]+[KMG]$"`, `if values.mem != _|_ {replcas: 3}`},
		"a long text":                 {`team?: strings.MinRunes(100)`, `if values.team != _|_ {replcas: 3}`},
		"a beginning":                 {`team?: strings.HasPrefix("corp/")`, `if values.team != _|_ {replcas: 3}`},
		"an address":                  {`ip?: net.IPv4`, `if values.ip != _|_ {replcas: 3}`},
		"a multiple":                  {`n?: int & math.MultipleOf(7)`, `if values.n != _|_ {replcas: 3}`},
		"what is above another":       {"a: *5 | int\nb?: int & >a", `if values.b != _|_ {replcas: 3}`},
		"what is below what is given": {"a!: int & >=5\nb?: int & >a", `if values.b != _|_ {replcas: 3}`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			found := lines(tried(row.variables, row.added))
			if !strings.Contains(found, `replcas`) {
				t.Errorf("wanted replcas to be found, found\n%s", found)
			}
			if found := lines(tried(row.variables, "")); strings.Contains(found, "error: ") || strings.Contains(found, CodeNotRendered) || strings.Contains(found, CodeUntried) {
				t.Errorf("wanted nothing without it, found\n%s", found)
			}
		})
	}
}

// Who must set something of a form that nobody thought of has a good template all the same.
func TestVetMakesUpWhatMustBeSet(t *testing.T) {
	for name, variables := range map[string]string{
		"an image":                        `image!: =~"^[a-z]+:[0-9]+$"`,
		"an image by its digest":          `image!: =~"^[a-z/.]+@sha256:[0-9a-f]{64}$"`,
		"a month":                         `month!: =~"^[0-9]{4}-[0-9]{2}$"`,
		"a registry":                      `image!: strings.HasPrefix("r.example.com/")`,
		"a registry and an end":           `image!: strings.HasPrefix("r.example.com/") & strings.HasSuffix(":1")`,
		"one number above another":        "a!: int & >=5\nb!: int & >a",
		"one number above another's rest": "b!: int & >a\na!: int & >=5",
		"numbers bound by each other":     "a!: int & <b\nb!: int & >a",
		"a field under a condition":       "k!: \"a\" | \"b\"\nif k == \"a\" {x!: =~\"^x-[0-9]+$\"}",
		"a multiple":                      `m!: int & math.MultipleOf(7)`,
		"a multiple above a bound":        `m!: int & >100 & math.MultipleOf(7)`,
		"a list of hosts":                 `hosts!: [...=~"^[a-z]+[.]com$"] & list.MinItems(1)`,
		"a struct":                        "db!: {host!: =~\"^db-[0-9]+$\"\nport: *5432 | int}",
		"a small fraction":                `f!: number & >0.001 & <0.002`,
		"text that two patterns match":    `x!: =~"^a" & =~"[0-9]{3}$" & strings.MaxRunes(10)`,
		"a time":                          `at!: time.Time`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if found := lines(tried(variables, "")); strings.Contains(found, "error: ") || strings.Contains(found, CodeNotRendered) || strings.Contains(found, CodeUntried) {
				t.Errorf("wanted a value to be made up, found\n%s", found)
			}
		})
	}
}
