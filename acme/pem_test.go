package acme_test

import (
	"crypto/x509"
	"strings"
	"testing"
)

// TestPEMOfRealCAs has what CAs were seen to answer with instead of RFC 7468's strict form.
func TestPEMOfRealCAs(t *testing.T) {
	root := newIssuer(t, nil)
	leaf := root.sign(t, leafTemplate(), newKey(t).Public())
	chain := []*x509.Certificate{leaf, root.certificate}
	const mark = "\ufeff"
	strict := chainPEM(chain...)
	first, second := chainPEM(leaf), chainPEM(root.certificate)
	for name, text := range map[string]string{
		"strict":                     strict,
		"nothing between the blocks": strings.ReplaceAll(strict, "-----\n-----BEGIN", "----------BEGIN"),
		"a space between the blocks": strings.ReplaceAll(strict, "-----\n-----BEGIN", "----- -----BEGIN"),
		"text before a block":        strings.ReplaceAll(strict, "-----BEGIN", "# issued to you: -----BEGIN"),
		"text after a block":         strings.ReplaceAll(strict, "CERTIFICATE-----\n-----BEGIN", "CERTIFICATE----- the next: \n-----BEGIN"),
		"lines of text":              "subject=CN = example.com\n" + first + "\nissuer:\n" + second + "\nthe end",
		"a byte-order mark":          mark + strict,
		"byte-order marks":           mark + first + mark + second,
		"a mark in each line":        strings.ReplaceAll(strict, "\nMII", "\n"+mark+"MII"),
		"CRLF":                       strings.ReplaceAll(strict, "\n", "\r\n"),
		"CR":                         strings.ReplaceAll(strict, "\n", "\r"),
		"no last line end":           strings.TrimSuffix(strict, "\n"),
		"indented":                   "  " + strings.ReplaceAll(strict, "\n", "\n\t  "),
		"trailing spaces":            strings.ReplaceAll(strict, "\n", "  \n"),
		"empty lines":                strings.ReplaceAll(strict, "\n", "\n\n"),
		"all on one line":            strings.ReplaceAll(strict, "\n", ""),
		"spaces for lines":           strings.ReplaceAll(strict, "\n", " "),
		"odd spaces":                 strings.ReplaceAll(strict, "\n", "\u00a0\v\n"),
		"headers":                    strings.ReplaceAll(strict, "CERTIFICATE-----\nMII", "CERTIFICATE-----\nOf: example.com\n\nMII"),
	} {
		t.Run(name, func(t *testing.T) { wantChainOf(t, text, chain) })
	}
}

// What is not the first is not the leaf, whatever the first is.
func TestPEMThatCannotBeRead(t *testing.T) {
	root := newIssuer(t, nil)
	first, second := chainPEM(root.sign(t, leafTemplate(), newKey(t).Public())), chainPEM(root.certificate)
	const begin, end = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"
	spoiled := func(text string) string { return strings.Replace(text, "MII", "M*I", 1) }
	for name, test := range map[string]struct{ text, says string }{
		"the first":              {spoiled(first) + second, "certificate 1 of the chain: 2 blocks begin, 1 can be read"},
		"both":                   {spoiled(first) + spoiled(second), "2 blocks begin, 0 can be read"},
		"the first without end":  {strings.Replace(first, end, "", 1) + second, "2 blocks begin, 1 can be read"},
		"one without end":        {strings.Replace(first, end, "", 1), "1 block begins, 0 can be read"},
		"a marker before it":     {begin + first, "2 blocks begin, 1 can be read"},
		"nothing in the first":   {begin + "\n" + end + "\n" + second, "2 blocks begin, 1 can be read"},
		"no certificate":         {begin + "\nAAAA\n" + end + "\n" + second, "certificate 1 of the chain: x509"},
		"a mark and white space": {"\ufeff \r\n\t", "no certificate in PEM"},
		"markers only":           {strings.Repeat(begin, 1<<20/len(begin)), "more than 20"},
		"empty blocks":           {strings.Repeat(begin+end, 1<<20/len(begin+end)), "more than 20"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := download(t, test.text)
			wantError(t, err, nil, test.says)
			wantPrintable(t, err.Error())
		})
	}
	certificate, err := download(t, first+strings.Repeat(strings.Replace(second, end, "", 1), 19))
	if err != nil || len(certificate.Chain) != 1 || len(certificate.Warnings) != 19 {
		t.Errorf("%+v, %v", certificate, err)
	}
}
