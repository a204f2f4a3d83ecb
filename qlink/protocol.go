package qlink

// Base URLs of the gateway (document, section 2). All are plain http: see Config.Endpoint.
const (
	EndpointTest = "http://open-test1.800best.com/open-platform-api/pay"
	EndpointProd = "http://open-prod.800best.com/open-platform-api/pay"

	EndpointGlobalTest = "http://qlink-global-test.800best.com/global-api/v1/pay"
	EndpointGlobalProd = "http://qlink-global.800best.com/global-api/v1/pay"
)

// Headers of every request, in both directions. HTTP compares their names without case.
const (
	HeaderAppKey = "appKey"
	HeaderSign   = "sign"
	// HeaderServiceProvider is sent with EditionGlobal only.
	HeaderServiceProvider = "serviceProvider"
)

// The operations, each the last element of its URL's path (sections 3 to 8).
const (
	OperationQueryPayAccount = "queryPayAccount"
	OperationApply           = "apply"
	OperationGetPayStatus    = "getPayStatus"
	OperationCancel          = "cancel"
	// OperationPayNotification is the only one that the gateway calls at our side.
	OperationPayNotification = "payNotification"
)

// Edition is one of the two published editions of the gateway's interface.
type Edition string

const (
	// EditionStandard is the documented interface, and the default.
	EditionStandard Edition = "standard"
	// EditionGlobal is the interface for service vendors: one more header, and
	// QueryPayAccount answers with rows of another form.
	EditionGlobal Edition = "global"
)

// AccountField says under which name the payment account is sent: the document's table
// says payAccount, its example glinkAccount (section 4).
type AccountField string

const (
	AccountFieldPayAccount   AccountField = "payAccount" // the default
	AccountFieldGlinkAccount AccountField = "glinkAccount"
	AccountFieldBoth         AccountField = "both"
)
