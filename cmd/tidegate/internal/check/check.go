// Package check judges files as the webhook would judge them when they are applied, without a
// cluster: Releases by what they become, templates by what publishing refuses, everything
// else by the policies that are asked on admission. What is asked is what the webhook asks,
// by the same functions.
//
// Three things are not known without an API server: the defaults that it fills in, who
// applies, and labels of namespaces of which no manifest is there. A selector of namespaces
// whose labels are not known matches.
package check

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	kjson "sigs.k8s.io/json"

	"tidegate.io/tidegate/cmd/tidegate/internal/findings"
	"tidegate.io/tidegate/policies/eval"
	"tidegate.io/tidegate/schemas/impact"
	"tidegate.io/tidegate/schemas/render"
	"tidegate.io/tidegate/schemas/secret"
	"tidegate.io/tidegate/schemas/v1alpha1"
	"tidegate.io/tidegate/webhook"
)

const blockStyles = yaml.LiteralStyle | yaml.FoldedStyle

// Checker judges.
type Checker struct {
	// Compiler compiles the policies among the files.
	Compiler eval.Compiler
	// Policies are asked about everything.
	Policies *eval.Set
	// Templates are those that Releases name.
	Templates *Templates
	// Namespaces are the labels of namespaces, by name; one that is missing is not known.
	Namespaces map[string]map[string]string
	// Namespace is that of objects that name none.
	Namespace string
	// User is who applies.
	User eval.UserInfo
	// Status returns a Release as the cluster has it, nil for none; nil where there is no
	// cluster.
	Status func(namespace, name string) (*v1alpha1.Release, error)
}

// Judge judges what the files hold, in their order. An error means that something could not
// be judged.
func (c *Checker) Judge(ctx context.Context, f Files) ([]findings.Object, error) {
	c.learn(f)
	out := make([]findings.Object, 0, len(f.Manifests)+len(f.Templates))
	var errs []error
	for _, m := range f.Manifests {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		o, err := c.manifest(ctx, m)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s:%d: checking %s: %w", m.File, m.line(), o.Title(), err))
		}
		out = append(out, o)
	}
	for _, dir := range f.Templates {
		o, err := directory(dir)
		if err != nil {
			errs = append(errs, err)
		}
		out = append(out, o)
	}
	return out, errors.Join(errs...)
}

// learn takes the labels of the namespaces that are among the files.
func (c *Checker) learn(f Files) {
	if c.Namespaces == nil {
		c.Namespaces = map[string]map[string]string{}
	}
	for _, m := range f.Manifests {
		if m.Object.GetAPIVersion() == "v1" && m.Object.GetKind() == "Namespace" {
			labels := m.Object.GetLabels()
			if labels == nil {
				labels = map[string]string{}
			}
			c.Namespaces[m.Object.GetName()] = labels
		}
	}
}

// clusterScoped are the kinds of Kubernetes that live in no namespace. The webhook is asked
// about namespaces that a Gate governs, and so about none of these.
var clusterScoped = []string{
	"APIService", "CSIDriver", "CSINode", "CertificateSigningRequest", "ClusterRole", "ClusterRoleBinding", "ClusterTrustBundle", "CustomResourceDefinition",
	"DeviceClass", "FlowSchema", "GatewayClass", "IPAddress", "IngressClass", "MutatingAdmissionPolicy", "MutatingAdmissionPolicyBinding", "MutatingWebhookConfiguration",
	"Namespace", "Node", "PersistentVolume", "PriorityClass", "PriorityLevelConfiguration", "ResourceSlice", "RuntimeClass", "ServiceCIDR", "StorageClass",
	"ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding", "ValidatingWebhookConfiguration", "VolumeAttachment", "VolumeAttributesClass",
}

func (c *Checker) manifest(ctx context.Context, m Manifest) (findings.Object, error) {
	u := m.Object
	gvk := u.GroupVersionKind()
	o := findings.Object{Kind: gvk.Kind, Name: nameOf(u), Namespace: u.GetNamespace(), File: m.File, Line: m.line()}
	own := gvk.Group == v1alpha1.GroupVersion.Group
	switch {
	case own && gvk.Kind == "ReleaseTemplate":
		o.Judged = true
		m.template(&o)
	case own && gvk.Kind == "DeployPolicy":
		o.Judged = true
		m.policy(ctx, c.Compiler, &o)
	case own && gvk.Kind == "Release":
		o.Namespace, o.Judged = c.namespace(u), true
		return o, c.release(ctx, m, &o)
	case own, slices.Contains(clusterScoped, gvk.Kind):
	default:
		o.Namespace, o.Judged = c.namespace(u), true
		return o, c.plain(ctx, m, &o)
	}
	return o, nil
}

func nameOf(u *unstructured.Unstructured) string {
	if name := u.GetName(); name != "" {
		return name
	}
	if prefix := u.GetGenerateName(); prefix != "" {
		return prefix + "*"
	}
	return ""
}

func (c *Checker) namespace(u *unstructured.Unstructured) string {
	if n := u.GetNamespace(); n != "" {
		return n
	}
	return c.Namespace
}

// request is the one by which the object would be created.
func (c *Checker) request(u *unstructured.Unstructured, namespace string) (eval.Request, error) {
	u = u.DeepCopy()
	u.SetNamespace(namespace)
	raw, err := u.MarshalJSON()
	if err != nil {
		return eval.Request{}, err
	}
	gvk := u.GroupVersionKind()
	resource, _ := meta.UnsafeGuessKindToResource(gvk)
	return eval.Request{
		Kind: eval.GroupKind(gvk), Resource: eval.GroupResource(resource), Name: u.GetName(), Namespace: namespace,
		Operation: "CREATE", UserInfo: c.User, Object: raw,
	}, nil
}

// plain asks what the webhook asks about an object that is created.
func (c *Checker) plain(ctx context.Context, m Manifest, o *findings.Object) error {
	request, err := c.request(m.Object, o.Namespace)
	if err != nil {
		return err
	}
	var namespace *eval.Namespace
	if labels, known := c.Namespaces[o.Namespace]; known {
		namespace = &eval.Namespace{Name: o.Namespace, Labels: labels}
	}
	// Nobody but Tidegate labels what belongs to a Release.
	none := func() (string, bool) { return "", true }
	m.verdict(o, secret.Mask{}, c.Policies.JudgeAll(ctx, eval.AdmissionQuestion(request, namespace, none, nil)), m.field)
	return nil
}

// release asks what the webhook asks about a Release.
func (c *Checker) release(ctx context.Context, m Manifest, o *findings.Object) error {
	release := &v1alpha1.Release{}
	if err := m.decode(release); err != nil {
		o.Findings = append(o.Findings, m.malformed(err))
		return nil
	}
	release.Namespace, release.Generation, release.Status = o.Namespace, 1, v1alpha1.ReleaseStatus{}
	if c.Status != nil {
		there, err := c.Status(release.Namespace, release.Name)
		if err != nil {
			return fmt.Errorf("reading the Release as it is: %w", err)
		}
		if there != nil {
			release.Generation, release.Status = there.Generation+1, there.Status
		}
	}
	revision, err := c.Templates.revision(release)
	if err != nil {
		return err
	}
	var values []byte
	if release.Spec.Values != nil {
		values = release.Spec.Values.Raw
	}
	made := c.Templates.compile(revision)
	if err = made.err; err == nil {
		var result *render.Result
		if result, err = made.template.Render(values, render.Context{Name: release.Name, Namespace: release.Namespace, Template: release.Spec.Template.Name}); err == nil {
			return c.rendered(ctx, m, o, release, revision, result, made.mask(values))
		}
	}
	return m.unrendered(o, err)
}

// unrendered says why a Release has no objects.
func (m Manifest) unrendered(o *findings.Object, err error) error {
	if wrong, ok := errors.AsType[*render.ValuesError](err); ok {
		for _, p := range wrong.Problems {
			at := "spec." + p.Path
			f := m.findingAt(findings.Error, render.ReasonValuesInvalid, p.Path+": "+p.Message, at)
			f.Fix, f.Field = p.Hint, at
			o.Findings = append(o.Findings, f)
		}
		return nil
	}
	if broken, ok := errors.AsType[*render.SourceError](err); ok {
		for _, l := range broken.Lines {
			o.Findings = append(o.Findings, m.findingAt(findings.Error, render.ReasonTemplateBroken, l, "spec.template"))
		}
		return nil
	}
	return fmt.Errorf("rendering: %w", err)
}

func (c *Checker) rendered(ctx context.Context, m Manifest, o *findings.Object, release *v1alpha1.Release, revision *v1alpha1.TemplateRevision, result *render.Result, mask secret.Mask) error {
	labels, known := c.Namespaces[release.Namespace]
	about := impact.About(release, revision, labels)
	if !known {
		delete(about, "namespace")
	}
	request, err := c.request(m.Object, release.Namespace)
	if err != nil {
		return err
	}
	questions, err := impact.Questions(request, release.Namespace, about, result)
	if err != nil {
		return err
	}
	// What policies name are fields of what is rendered; who wrote the Release wrote values.
	m.verdict(o, mask, c.Policies.JudgeAll(ctx, questions...), m.value)
	return nil
}

// verdict adds what policies say, each once. Field finds what a message is about.
func (m Manifest) verdict(o *findings.Object, mask secret.Mask, v eval.Verdict, field func(string) string) {
	for _, part := range []struct {
		severity findings.Severity
		list     []eval.Violation
	}{{findings.Error, v.Denials}, {findings.Warning, v.Warnings}, {findings.Note, v.Dryrun}} {
		for _, found := range part.list {
			message := mask.Text(found.Message)
			f := m.findingAt(part.severity, found.Code, message, field(message))
			if f.Field == "" {
				f.Field = mentioned(message)
			}
			f.Policy, f.Fix = found.Policy, mask.Text(found.Fix)
			if !slices.Contains(o.Findings, f) {
				o.Findings = append(o.Findings, f)
			}
		}
	}
}

// policy judges a DeployPolicy, as applying it would.
func (m Manifest) policy(ctx context.Context, compiler eval.Compiler, o *findings.Object) {
	var p v1alpha1.DeployPolicy
	if err := m.decode(&p); err != nil {
		o.Findings = append(o.Findings, m.malformed(err))
		return
	}
	_, err := compiler.Compile(ctx, eval.FromDeployPolicy(&p))
	if mistakes, ok := errors.AsType[*eval.CompileError](err); ok {
		for _, l := range mistakes.Lines {
			o.Findings = append(o.Findings, m.finding(findings.Error, webhook.ReasonPolicyInvalid, l))
		}
	}
}

// Policies are the DeployPolicies among the files. The error names one that cannot be read.
func Policies(f Files) ([]v1alpha1.DeployPolicy, error) {
	var out []v1alpha1.DeployPolicy
	for _, m := range f.Manifests {
		gvk := m.Object.GroupVersionKind()
		if gvk.Group != v1alpha1.GroupVersion.Group || gvk.Kind != "DeployPolicy" {
			continue
		}
		var p v1alpha1.DeployPolicy
		if err := m.decode(&p); err != nil {
			return nil, fmt.Errorf("%s:%d: reading a DeployPolicy: %w", m.File, m.line(), err)
		}
		out = append(out, p)
	}
	return out, nil
}

// Sound are the DeployPolicies among the files that compile. What is wrong with the others
// is found when they are judged.
func Sound(ctx context.Context, compiler eval.Compiler, f Files) []v1alpha1.DeployPolicy {
	var out []v1alpha1.DeployPolicy
	for _, m := range f.Manifests {
		found, err := Policies(Files{Manifests: []Manifest{m}})
		for i := range found {
			if _, broken := compiler.Compile(ctx, eval.FromDeployPolicy(&found[i])); err == nil && broken == nil {
				out = append(out, found[i])
			}
		}
	}
	return out
}

// finding is one about the object, at the field that the message names.
func (m Manifest) finding(s findings.Severity, code, message string) findings.Finding {
	return m.findingAt(s, code, message, m.field(message))
}

// findingAt is one at a field; it stands where the object begins if the field is not there.
func (m Manifest) findingAt(s findings.Severity, code, message, path string) findings.Finding {
	f := findings.Finding{Severity: s, Code: code, Message: message, Field: path, File: m.File, Line: m.line(), Column: m.node.Column}
	if line, column, ok := m.locate(path); ok {
		f.Line, f.Column = line, column
	}
	return f
}

func (m Manifest) malformed(err error) findings.Finding {
	return m.finding(findings.Error, webhook.ReasonMalformed, fmt.Sprintf("wanted a %s, found: %v", m.Object.GetKind(), err))
}

// decode reads the object strictly: a field that is not known is a mistake.
func (m Manifest) decode(into any) error {
	raw, err := json.Marshal(m.Object.Object)
	if err != nil {
		return err
	}
	wrong, err := kjson.UnmarshalStrict(raw, into)
	if err = errors.Join(append(wrong, err)...); err != nil {
		return errors.New(strings.Join(strings.Fields(err.Error()), " "))
	}
	return nil
}

func slashed(path string) string { return filepath.ToSlash(filepath.Clean(path)) }
