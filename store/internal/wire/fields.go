package wire

// The numbers of all fields, for ever. A new one goes to the end of its list,
// with the next number; one that is gone leaves its number behind. Numbers up to
// 15 take a byte less than those above, so a bill's are those that every bill
// has.

// bill.Bill
const (
	billID               = 1
	billLedger           = 2
	billAccount          = 3
	billShop             = 4
	billOrderCode        = 5
	billAttempt          = 6
	billStatus           = 7
	billAmount           = 8
	billCurrency         = 9
	billCountry          = 10
	billCreatedAt        = 11
	billUpdatedAt        = 12
	billExpiresAt        = 13
	billVersion          = 14
	billRevision         = 15
	billLiveMode         = 16
	billPayType          = 17
	billPayChannel       = 18
	billAsked            = 19
	billChosen           = 20
	billRetryOf          = 21
	billBillCode         = 22
	billPaymentRequestID = 23
	billAction           = 24
	billErrorCode        = 25
	billPayURL           = 26
	billClient           = 27
	billSignedAt         = 28
	billPayTime          = 29
	billApply            = 30
	billCancel           = 31
	billReported         = 32
	billLatePayment      = 33
	billRefundDue        = 34
	billSettledBy        = 35
	billAskedAt          = 36
	billDue              = 37
	billSilent           = 38
	billAlarms           = 39
	billUnknowns         = 40
	billWithdrawn        = 41
	billResolvedAt       = 42
	billForgottenAt      = 43
	billTold             = 44
)

// bill.Asked
const (
	askedAnyChannel = 1
	askedPayType    = 2
	askedExpiresIn  = 3
)

// bill.Action
const (
	actionKind  = 1
	actionValue = 2
)

// bill.Applying
const (
	applyTries       = 1
	applyStartedAt   = 2
	applyEndedAt     = 3
	applyAccepted    = 4
	applyActionAsked = 5
	applyRefused     = 6
	applyNotSent     = 7
	applyFirstMiss   = 8
	applyErrorCode   = 9
	applyComplained  = 10
)

// bill.Cancelling
const (
	cancelRequested = 1
	cancelReason    = 2
	cancelAt        = 3
	cancelConfirmed = 4
	cancelRefusals  = 5
)

// bill.Reported
const (
	reportedAt      = 1
	reportedPayTime = 2
)

// bill.Details
const (
	detailsDescription = 1
	detailsMetadata    = 2
	detailsItems       = 3
	detailsReturnURL   = 4
)

// bill.Item
const (
	itemSKUCode     = 1
	itemSKUName     = 2
	itemQuantity    = 3
	itemURL         = 4
	itemImageURL    = 5
	itemCategory    = 6
	itemSubcategory = 7
	itemDescription = 8
	itemMetadata    = 9
)

// bill.OrderRecord
const (
	orderAttempts = 1
	orderRevision = 2
)

// bill.Attempt
const (
	attemptID          = 1
	attemptStatus      = 2
	attemptAmount      = 3
	attemptCurrency    = 4
	attemptUnconfirmed = 5
)

// bill.Event
const (
	eventKind      = 1
	eventAt        = 2
	eventSource    = 3
	eventFrom      = 4
	eventTo        = 5
	eventVersion   = 6
	eventReason    = 7
	eventNote      = 8
	eventReport    = 9
	eventActor     = 10
	eventTook      = 11
	eventWay       = 12
	eventExpiresAt = 13
	eventComplaint = 14
)

// bill.Report
const (
	reportTradeUUID        = 1
	reportBillCode         = 2
	reportOrderCode        = 3
	reportPaymentRequestID = 4
	reportCurrency         = 5
	reportStatus           = 6
	reportPayTime          = 7
	reportErrorCode        = 8
	reportMessage          = 9
	reportHTTPStatus       = 10
	reportBodySHA256       = 11
)

// bill.Way
const (
	wayPayType    = 1
	wayPayChannel = 2
)

// bill.Notification
const (
	notificationID            = 1
	notificationURL           = 2
	notificationLedger        = 3
	notificationAccount       = 4
	notificationShop          = 5
	notificationOrderCode     = 6
	notificationBill          = 7
	notificationType          = 8
	notificationPayload       = 9
	notificationCreatedAt     = 10
	notificationDue           = 11
	notificationState         = 12
	notificationTries         = 13
	notificationTriedAt       = 14
	notificationLastError     = 15
	notificationRevision      = 16
	notificationSequence      = 17
	notificationRedeliveredAt = 18
	notificationBillCreatedAt = 19
	notificationLog           = 20
)

// bill.Try
const (
	tryAt     = 1
	tryTook   = 2
	tryStatus = 3
	tryError  = 4
)

// bill.Idempotency
const (
	idempotencyRequest   = 1
	idempotencyBill      = 2
	idempotencyExpiresAt = 3
)

// bill.Orphan
const (
	orphanLedger   = 1
	orphanID       = 2
	orphanAt       = 3
	orphanReport   = 4
	orphanResolved = 5
)

// bill.Resolution
const (
	resolutionAt    = 1
	resolutionNote  = 2
	resolutionActor = 3
)

// A string alone, such as the id of a record that another one leads to.
const textItself = 1

// google.protobuf.Timestamp
const (
	timestampSeconds = 1
	timestampNanos   = 2
)
