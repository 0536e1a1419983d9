package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"

	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/apiserver/pkg/authentication/authenticator"
	"k8s.io/apiserver/pkg/authentication/group"
	"k8s.io/apiserver/pkg/authentication/request/bearertoken"
	requestunion "k8s.io/apiserver/pkg/authentication/request/union"
	"k8s.io/apiserver/pkg/authentication/request/x509"
	"k8s.io/apiserver/pkg/authentication/token/tokenfile"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizerfactory"
	"k8s.io/apiserver/pkg/authorization/union"
	genericapiserver "k8s.io/apiserver/pkg/server"
	"k8s.io/apiserver/pkg/server/dynamiccertificates"
	"k8s.io/kubernetes/pkg/registry/rbac/validation"
	"k8s.io/kubernetes/plugin/pkg/auth/authorizer/rbac"
)

// access are the files that say who may do what.
type access struct{ tokens, clients, roles string }

func (a access) apply(config *genericapiserver.RecommendedConfig) error {
	var authenticators []authenticator.Request
	if a.clients != "" {
		ca, err := dynamiccertificates.NewDynamicCAContentFromFile("clients", a.clients)
		if err != nil {
			return err
		}
		config.SecureServing.ClientCA = ca
		authenticators = append(authenticators, x509.NewDynamic(ca.VerifyOptions, x509.CommonNameUserConversion))
	}
	if a.tokens != "" {
		tokens, err := tokenfile.NewCSV(a.tokens)
		if err != nil {
			return err
		}
		authenticators = append(authenticators, bearertoken.New(tokens))
	}
	config.Authentication.Authenticator = group.NewAuthenticatedGroupAdder(requestunion.New(authenticators...))
	static, err := a.read()
	if err != nil {
		return err
	}
	config.Authorization.Authorizer, err = union.New(
		union.NamedAuthorizer{AuthorizerName: "masters", Authorizer: authorizerfactory.NewPrivilegedGroups(user.SystemPrivilegedGroup)},
		union.NamedAuthorizer{AuthorizerName: "rbac", Authorizer: rbac.New(static, static, static, static)},
	)
	return err
}

// read returns the roles of the file, and who has them.
func (a access) read() (*validation.StaticRoles, error) {
	var roles []*rbacv1.Role
	var bindings []*rbacv1.RoleBinding
	var text []byte
	var err error
	if a.roles != "" {
		if text, err = os.ReadFile(a.roles); err != nil {
			return nil, err
		}
	}
	documents := yaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(text)))
	for {
		document, err := documents.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		var kind struct{ Kind string }
		role, binding := new(rbacv1.Role), new(rbacv1.RoleBinding)
		if err == nil {
			err = yaml.Unmarshal(document, &kind)
		}
		switch {
		case err != nil:
		case kind.Kind == "Role":
			err = yaml.UnmarshalStrict(document, role)
			roles = append(roles, role)
		case kind.Kind == "RoleBinding":
			err = yaml.UnmarshalStrict(document, binding)
			bindings = append(bindings, binding)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", a.roles, err)
		}
	}
	_, static := validation.NewTestRuleResolver(roles, bindings, nil, nil)
	return static, nil
}
