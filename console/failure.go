package console

import (
	"errors"
	"net/http"

	"go.uber.org/zap"

	"github.com/caddy-qlink/caddy-qlink/operator"
)

// What a console refuses by itself, in words for who asked.
var (
	errNobody = operator.Refuse(http.StatusForbidden, errors.New("nobody is signed in, and the console answers nobody so. "+
		"Put basic_auth or forward_auth before qlink_console; where the user's name stands elsewhere than in {http.auth.user.id}, "+
		"such as in a header that forward_auth copies, say so with the option user. "+
		"Where something else keeps strangers out, the option unprotected opens it"))
	errNoPage   = operator.Refuse(http.StatusNotFound, errors.New("there is no such page"))
	errMethod   = operator.Refuse(http.StatusMethodNotAllowed, errors.New("the address does not do that"))
	errReadOnly = operator.Refuse(http.StatusForbidden, errors.New("this console is for reading alone (option read_only)"))
	errForeign  = operator.Refuse(http.StatusForbidden, errors.New("the form did not come from this console, as far as the browser tells. Nothing was done"))
	errToken    = operator.Refuse(http.StatusForbidden, errors.New("the form is out of date: another user has signed in since, or the server's secrets have changed. "+
		"Nothing was done. Go back, load the page again and repeat it"))
)

// failure is the page about something that did not work.
type failure struct {
	frame

	Detail string
}

// fail answers with an error; what nobody has foreseen is for the log.
func (v *visit) fail(err error) {
	f := failure{frame: v.frame("", "That did not work"), Detail: err.Error()}
	f.Notice = nil
	status := operator.StatusOf(err)
	switch status {
	case http.StatusNotFound:
		f.Title = "Not there"
	case http.StatusForbidden:
		f.Title = "Not allowed"
	case http.StatusServiceUnavailable:
		f.Detail = "The store of bills does not answer now. Nothing is lost by that; try again in a moment."
	case http.StatusInternalServerError:
		v.Logger.Error("a page of the console could not be made", zap.String("path", v.path), zap.Error(err))
		f.Detail = "The server's log says what happened."
	}
	if err := v.show(status, "failure.html", f); err != nil {
		v.Logger.Error("the console's page for failures could not be made", zap.Error(err))
		v.w.WriteHeader(http.StatusInternalServerError)
	}
}
