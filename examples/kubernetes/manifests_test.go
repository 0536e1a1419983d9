package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"sigs.k8s.io/json"
	"sigs.k8s.io/yaml"

	"github.com/everseal/everseal/storage/kubernetes"
)

// Manifests are the objects of manifests.yaml.
type manifests struct {
	namespaces  []*corev1.Namespace
	accounts    []*corev1.ServiceAccount
	roles       []*rbacv1.Role
	bindings    []*rbacv1.RoleBinding
	deployments []*appsv1.Deployment
	budgets     []*policyv1.PodDisruptionBudget
	services    []*corev1.Service
	ingresses   []*networkingv1.Ingress
	policies    []*networkingv1.NetworkPolicy
}

// readManifests reads them as strictly as an API server that is told to by "kubectl apply --validate=strict".
func readManifests(t *testing.T) *manifests {
	t.Helper()
	text, err := os.ReadFile("manifests.yaml")
	if err != nil {
		t.Fatal(err)
	}
	m := new(manifests)
	for document := range bytes.SplitSeq(text, []byte("\n---\n")) {
		var kind struct{ APIVersion, Kind string }
		if err := yaml.Unmarshal(document, &kind); err != nil {
			t.Fatal(err)
		}
		read := map[string]func([]byte) error{
			"v1 Namespace":                             one(&m.namespaces),
			"v1 ServiceAccount":                        one(&m.accounts),
			"rbac.authorization.k8s.io/v1 Role":        one(&m.roles),
			"rbac.authorization.k8s.io/v1 RoleBinding": one(&m.bindings),
			"apps/v1 Deployment":                       one(&m.deployments),
			"policy/v1 PodDisruptionBudget":            one(&m.budgets),
			"v1 Service":                               one(&m.services),
			"networking.k8s.io/v1 Ingress":             one(&m.ingresses),
			"networking.k8s.io/v1 NetworkPolicy":       one(&m.policies),
		}[kind.APIVersion+" "+kind.Kind]
		if read == nil {
			t.Fatalf("%+v is no kind that is known here", kind)
		}
		if err := read(document); err != nil {
			t.Fatalf("%+v: %v", kind, err)
		}
	}
	return m
}

// one returns what reads one more object of a type.
func one[T any](all *[]*T) func([]byte) error {
	return func(document []byte) error {
		object := new(T)
		*all = append(*all, object)
		text, err := yaml.YAMLToJSONStrict(document)
		if err != nil {
			return err
		}
		strict, err := json.UnmarshalStrict(text, object) // unlike package yaml's, by the case of names
		return errors.Join(append(strict, err)...)
	}
}

// options returns what the Deployment has the program told, of which the defaults are not said.
func (m *manifests) options(t *testing.T) *options {
	t.Helper()
	o, err := parseOptions(m.deployments[0].Spec.Template.Spec.Containers[0].Args, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// The objects are those that belong together.
func TestManifests(t *testing.T) {
	m := readManifests(t)
	o := m.options(t)
	d, pod := m.deployments[0], m.deployments[0].Spec.Template
	for what, selector := range map[string]map[string]string{
		"Deployment": d.Spec.Selector.MatchLabels, "PodDisruptionBudget": m.budgets[0].Spec.Selector.MatchLabels,
		"Service": m.services[0].Spec.Selector, "NetworkPolicy": m.policies[0].Spec.PodSelector.MatchLabels,
	} {
		if len(selector) == 0 || !maps.Equal(selector, pod.Labels) {
			t.Errorf("the %s selects %v, and the pods have %v", what, selector, pod.Labels)
		}
	}
	port := pod.Spec.Containers[0].Ports[0]
	if o.http != fmt.Sprintf(":%d", port.ContainerPort) || m.services[0].Spec.Ports[0].TargetPort.StrVal != port.Name || m.policies[0].Spec.Ingress[0].Ports[0].Port.StrVal != port.Name {
		t.Errorf("the program listens at %s, the pod's port is %+v", o.http, port)
	}
	if pod.Spec.ServiceAccountName != m.accounts[0].Name || d.Namespace != m.accounts[0].Namespace || d.Namespace != m.namespaces[0].Name {
		t.Errorf("the pods of namespace %s are the account %s", d.Namespace, pod.Spec.ServiceAccountName)
	}
	for i, binding := range m.bindings {
		want := rbacv1.Subject{Kind: "ServiceAccount", Name: m.accounts[0].Name, Namespace: m.accounts[0].Namespace}
		if role := m.roles[i]; binding.Namespace != role.Namespace || binding.RoleRef.Name != role.Name || len(binding.Subjects) != 1 || binding.Subjects[0] != want {
			t.Errorf("a RoleBinding is %+v", binding)
		}
	}
	var hosts []string
	for _, rule := range m.ingresses[0].Spec.Rules {
		hosts = append(hosts, rule.Host)
	}
	var secrets []string
	for _, name := range o.names {
		secret, err := kubernetes.TLSSecretName(name)
		if err != nil {
			t.Error(err)
		}
		secrets = append(secrets, secret)
	}
	if !slices.Equal(hosts, o.names) {
		t.Errorf("certificates are for %v, and answers are led to the pods for %v", o.names, hosts)
	}
	if named := m.roles[1].Rules[1].ResourceNames; m.roles[1].Namespace != o.secrets || !slices.Equal(named, secrets) {
		t.Errorf("the certificates are written into %v, and the role is for %v", secrets, named)
	}
	web := m.ingresses[1]
	for i, of := range web.Spec.TLS {
		if of.SecretName != secrets[i] || !slices.Equal(of.Hosts, o.names[i:i+1]) || web.Namespace != o.secrets {
			t.Errorf("the ingress takes %v from %s", of.Hosts, of.SecretName)
		}
	}
}

// The pods satisfy the Pod Security Standard "restricted", which the namespace asks for, and write no file.
func TestPodIsRestricted(t *testing.T) {
	m := readManifests(t)
	pod := m.deployments[0].Spec.Template.Spec
	c := pod.Containers[0].SecurityContext
	switch {
	case m.namespaces[0].Labels["pod-security.kubernetes.io/enforce"] != "restricted",
		pod.HostNetwork, pod.HostPID, pod.HostIPC, len(pod.Volumes) > 0, len(pod.Containers) != 1, len(pod.InitContainers) > 0,
		!*pod.SecurityContext.RunAsNonRoot, *pod.SecurityContext.RunAsUser == 0,
		pod.SecurityContext.SeccompProfile.Type != corev1.SeccompProfileTypeRuntimeDefault,
		*c.AllowPrivilegeEscalation, !*c.ReadOnlyRootFilesystem, !slices.Equal(c.Capabilities.Drop, []corev1.Capability{"ALL"}), len(c.Capabilities.Add) > 0:
		t.Errorf("the pods may more than they need: %+v, %+v", pod, c)
	}
}

func TestWrongArguments(t *testing.T) {
	for args, want := range map[string]string{
		"-agree":                             "-names is missing",
		"-names=example.com":                 "-agree is missing",
		"-agree -names=example.com,":         "-names: ",
		"-agree -names=*.example.com":        "http-01 does not prove control of the wildcard",
		"-agree -names=example.com more":     `"more" is no flag`,
		"-agree -names=example.com -replica": "-replica",
	} {
		if _, err := parseOptions(strings.Fields(args), io.Discard); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", args, err, want)
		}
	}
}
