package integration

import (
	"bufio"
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/caddy-qlink/caddy-qlink/qlink"
)

// badInput is one line of testdata/badinputs/*.ndjson: a request that must
// change nothing, and what the contract answers it. In method, path, header and
// body, {{name}} stands for what the test knows only when it runs: the id of a
// known bill ({{wait}}, {{paid}}, {{failed}}, {{canceled}}, {{code}}, {{foreign}}),
// its billCode ({{wait.billCode}}), the signature asked for ({{sign}}, {{SIGN}} in
// upper case) and its time ({{t}}).
type badInput struct {
	Name     string              `json:"name"`
	Method   string              `json:"method"`
	Path     string              `json:"path"`
	Header   [][2]string         `json:"header"`
	Body     string              `json:"body"`
	Base64   []byte              `json:"base64"`   // instead of Body, where that is no text
	Repeat   map[string]repeated `json:"repeat"`   // what a name in the request stands for, if that is long
	Gateway  *gatewaySeal        `json:"gateway"`  // signed as the gateway does
	Shop     *shopSeal           `json:"shop"`     // signed as a shop does
	Upstream *upstreamAnswer     `json:"upstream"` // what the shop answers to this checkout
	Raw      string              `json:"raw"`      // the request as it goes over the wire, instead of all above
	Want     wanted              `json:"want"`
}

type repeated struct {
	Text  string `json:"text"`
	Times int    `json:"times"`
}

// gatewaySeal says how the headers appKey and sign are made; zero values make
// a genuine one. Where the request names either header itself, none is added.
type gatewaySeal struct {
	Secret *string `json:"secret"`
	Over   *string `json:"over"` // another body than the one sent
	Key    string  `json:"key"`  // inside the signed text
	Mode   string  `json:"mode"`
}

// shopSeal likewise says how QLink-Signature is made.
type shopSeal struct {
	Secret *string `json:"secret"`
	Over   *string `json:"over"`
	Method string  `json:"method"`
	Path   string  `json:"path"`
	Age    int64   `json:"age"` // seconds; negative: of the future
}

type upstreamAnswer struct {
	Status int         `json:"status"`
	Header [][2]string `json:"header"` // the order's type is added where no Content-Type is
	Body   string      `json:"body"`
	Base64 []byte      `json:"base64"`
}

// wanted is the answer that the contract gives.
type wanted struct {
	Status int    `json:"status"`
	Code   string `json:"code"`   // of the problem
	Allow  string `json:"allow"`  // the header
	Orphan string `json:"orphan"` // the tradeUuid of a payment that is kept, though nobody knows its bill
}

func readCorpus(t *testing.T) []badInput {
	t.Helper()
	paths, err := filepath.Glob("testdata/badinputs/*.ndjson")
	if err != nil {
		t.Fatal(err)
	}
	var corpus []badInput
	seen := make(map[string]bool)
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		lines := json.NewDecoder(bytes.NewReader(text))
		lines.DisallowUnknownFields()
		for {
			var in badInput
			err := lines.Decode(&in)
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatalf("%s after %d inputs: %v", path, len(corpus), err)
			}
			in.Name = strings.TrimSuffix(filepath.Base(path), ".ndjson") + ": " + in.Name
			if seen[in.Name] {
				t.Errorf("%s: twice", in.Name)
			}
			seen[in.Name] = true
			corpus = append(corpus, in)
		}
	}
	return corpus
}

// try sends one input and compares the answer with what is wanted.
func (c *badInputs) try(in badInput) {
	c.t.Helper()
	c.tried++
	c.upstream.Store(in.Upstream)
	got, err := c.send(in)
	complain := func(format string, args ...any) {
		c.t.Helper()
		c.wrong++
		c.t.Errorf("%s: %s", in.Name, fmt.Sprintf(format, args...))
	}
	if err != nil {
		complain("no answer: %v", err)
		return
	}
	if got.StatusCode >= 500 && in.Want.Status < 500 {
		c.broken++
	}
	switch {
	case got.StatusCode != in.Want.Status:
		complain("%d, want %d\n%.500s", got.StatusCode, in.Want.Status, got.body)
	case in.Want.Allow != "" && got.Header.Get("Allow") != in.Want.Allow:
		complain("Allow: %q, want %q", got.Header.Get("Allow"), in.Want.Allow)
	case in.Want.Code != "" && (!bytes.Contains(got.body, []byte(`"code":"`+in.Want.Code+`"`)) || got.Header.Get("Content-Type") != "application/problem+json"):
		complain("no problem with the code %s\n%s\n%.500s", in.Want.Code, got.Header.Get("Content-Type"), got.body)
	case in.Path == "/qlink/payNotification" && in.Method == http.MethodPost && in.Want.Status != http.StatusRequestHeaderFieldsTooLarge:
		success := bytes.Contains(got.body, []byte(`"success":true`))
		failure := bytes.HasPrefix(got.body, []byte(`{"success":false,"message":"`))
		if success != (in.Want.Status == http.StatusOK) || failure == success {
			complain("%.500s", got.body)
		}
	}
	if bytes.Contains(got.body, []byte(appSecret)) || bytes.Contains(got.body, []byte(apiSecret)) {
		complain("the answer tells a secret")
	}
}

func (c *badInputs) send(in badInput) (answer, error) {
	if in.Raw != "" {
		return c.sendRaw(c.expand(in.Raw, in.Repeat))
	}
	path := c.expand(in.Path, in.Repeat)
	body := in.Base64
	if body == nil {
		body = []byte(c.expand(in.Body, in.Repeat))
	}
	req, err := http.NewRequestWithContext(c.t.Context(), in.Method, "http://"+c.public+path, bytes.NewReader(body))
	if err != nil {
		return answer{}, err
	}
	req.Header.Set("X-Forwarded-For", fmt.Sprintf("10.%d.%d.1", c.tried/250, c.tried%250))
	seal := c.seal(in, path, req, string(body))
	for _, h := range in.Header {
		req.Header.Add(h[0], c.expand(seal.Replace(h[1]), in.Repeat))
	}
	return c.do(req)
}

// sendRaw writes text as it stands, says that there will be no more, and reads
// what is answered.
func (c *badInputs) sendRaw(text string) (answer, error) {
	conn := c.dial()
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(startWithin)); err != nil {
		return answer{}, err
	}
	// The server may answer, and close, before it has read everything.
	_, _ = io.WriteString(conn, strings.ReplaceAll(text, "{{host}}", c.public))
	if half, ok := conn.(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite()
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return answer{Response: resp, body: body}, err
}

// expand puts in what the names in a text stand for.
func (c *badInputs) expand(text string, repeat map[string]repeated) string {
	text = c.known.Replace(text)
	for name, r := range repeat {
		text = strings.ReplaceAll(text, name, strings.Repeat(r.Text, r.Times))
	}
	return text
}

// seal signs the request, and returns what puts the signature into headers
// that the input names itself.
func (c *badInputs) seal(in badInput, path string, req *http.Request, body string) *strings.Replacer {
	named := func(header string) bool {
		for _, h := range in.Header {
			if strings.EqualFold(h[0], header) {
				return true
			}
		}
		return false
	}
	over := func(text *string) string {
		if text == nil {
			return body
		}
		return c.expand(*text, in.Repeat)
	}
	switch {
	case in.Gateway != nil:
		g := in.Gateway
		sign := qlink.Sign(qlink.ContentMode(g.Mode), or(g.Key, appKey), secretOr(g.Secret, appSecret), []byte(over(g.Over)))
		if !named("appKey") && !named("sign") {
			req.Header.Set("appKey", appKey)
			req.Header.Set("sign", sign)
		}
		return strings.NewReplacer("{{sign}}", sign, "{{SIGN}}", strings.ToUpper(sign))
	case in.Shop != nil:
		s := in.Shop
		t := strconv.FormatInt(time.Now().Unix()-s.Age, 10)
		mac := hmac.New(sha256.New, []byte(secretOr(s.Secret, apiSecret)))
		fmt.Fprintf(mac, "%s.%s.%s.%s", t, or(s.Method, in.Method), or(c.known.Replace(s.Path), path), over(s.Over))
		sign := hex.EncodeToString(mac.Sum(nil))
		if !named("QLink-Signature") {
			req.Header.Set("QLink-Signature", "t="+t+",v1="+sign)
		}
		return strings.NewReplacer("{{sign}}", sign, "{{SIGN}}", strings.ToUpper(sign), "{{t}}", t)
	}
	return strings.NewReplacer()
}

func or(text, fallback string) string {
	if text == "" {
		return fallback
	}
	return text
}

func secretOr(secret *string, fallback string) string {
	if secret == nil {
		return fallback
	}
	return *secret
}
