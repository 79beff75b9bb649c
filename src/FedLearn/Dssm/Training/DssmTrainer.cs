using FedLearn.Coordination;
using FedLearn.Diagnostics;
using FedLearn.Parties;
using FedLearn.Privacy;
using FedLearn.Protocol;

namespace FedLearn.Dssm;

/// <summary>One party of a recommendation job between companies: a multi-view deep structured semantic model (FL-MV-DSSM, arXiv 2008.10808; DSSM, Huang et al. 2013)
/// whose views and labels stay where they are.</summary>
/// <remarks>In every round each view sends the vectors of a batch, the active party fuses them, finds the loss, and answers dL/dy; every party steps its own towers. Without
/// noise this is the training of the pooled model, bit for bit.</remarks>
public sealed class DssmTrainer
{
    private readonly DssmParty _party;
    private readonly ITowerFactory _towers;
    private readonly DssmRunKind _kind;
    private readonly JoinRequest _request;
    private readonly string? _unsettled;

    /// <summary>Checks a job and a party's input against each other.</summary>
    /// <param name="job">The job; the same at every party.</param>
    /// <param name="input">What this party brings.</param>
    /// <param name="towers">Makes towers.</param>
    /// <exception cref="ConfigurationException">The job is inconsistent, or the input does not fit it.</exception>
    /// <exception cref="PrivacyRefusedException">The job asks a private mode for something its claim does not cover.</exception>
    /// <exception cref="BadInputException">FL3145: there is no sample to train on.</exception>
    public DssmTrainer(DssmJob job, DssmPartyInput input, ITowerFactory towers)
    {
        ArgumentNullException.ThrowIfNull(job);
        ArgumentNullException.ThrowIfNull(input);
        ArgumentNullException.ThrowIfNull(towers);
        (_party, _towers) = (new DssmParty(job, input), towers);
        Terms = DssmJobTerms.Of(job);
        CheckStates();
        CutOffRun? cutOff = Runs?.Find(input.Party, Terms.TermsDigest);
        if (cutOff is not null && input.Fresh)
            _unsettled = DssmKeptRun.Forget(Runs!, cutOff, input.Ledger);
        // A run that goes on is reserved already, and is not counted twice.
        CheckBudget(input.Fresh ? input.RunId : cutOff?.Run.RunId ?? input.RunId);
        _kind = new DssmRunKind(_party.IsActive ? "dssm label 2" : "dssm view 2", new Lazy<byte[]>(() => DssmInputDigest.Of(input, towers)), towers.Threads);
        _request = new JoinRequest(SessionDesk.ProtocolVersion, _party.Options.Party, Terms.JobName, Terms.TermsDigest, Terms.Sections,
            input.SchemaFingerprint.IsEmpty ? InputShape.Fingerprint(input) : input.SchemaFingerprint);
    }

    /// <summary>What the parties must agree on.</summary>
    public SessionTerms Terms { get; }

    /// <summary>With what this party joins a session; read anew for each session, since it offers what the party can go on with.</summary>
    /// <exception cref="ConfigurationException">FL2545: the run that was cut off began with another number of threads. FL2541: another process goes on with it.</exception>
    public JoinRequest JoinRequest => _request with { Resume = DssmKeptRun.Offer(Runs, _party.Name, Terms, _kind) };

    // A ledger in memory keeps no messages: a private run cannot go on with it.
    private IRunStore? Runs => _party.Job.Training.CheckpointRounds == 0 || _party.Plan.Noises(_party.Role) && _party.Input.Ledger is null or InMemoryLedger ? null : _party.Input.Runs;

    /// <summary>Trains with the other parties of a session.</summary>
    /// <param name="agreement">What all parties agreed on when they joined.</param>
    /// <param name="channels">At the active party one channel to each view, in the job's order; at a view the one to the active party.</param>
    /// <param name="progress">Told after epochs; null for nobody.</param>
    /// <param name="cancellationToken">Stops the job; the peers are told.</param>
    /// <returns>The party's own result.</returns>
    /// <exception cref="ArgumentException">The channels are not one a peer.</exception>
    /// <exception cref="FedLearnException">The job failed; the peers have been told the error's id.</exception>
    public async Task<DssmPartyResult> TrainAsync(SessionAgreement agreement, IReadOnlyList<IPartyChannel> channels, IProgress<DssmProgress>? progress = null,
        CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(agreement);
        ChannelGuard.CheckCount(channels, _party.Role, _party.Job.Parties.Count);
        return await _party.Telemetry("train").RunAsync(() => ChannelGuard.RunAsync(channels, async () =>
        {
            // A large state takes its time to read.
            using DssmKeptRun kept = await ChannelGuard.MakeAsync(channels, () => Task.FromResult(DssmKeptRun.Open(Runs, _party, Terms, agreement, _kind)), cancellationToken).ConfigureAwait(false);
            using DssmAccount account = Account(agreement, kept.RunId ?? _party.Input.RunId);
            try
            {
                await using var thread = new TowerThread(_party.Name);
                return await new DssmTraining(_party, _towers, agreement, channels, kept, account, thread, _unsettled ?? kept.Unsettled).RunAsync(progress, cancellationToken).ConfigureAwait(false);
            }
            catch (Exception e) when (kept.IsKept)
            {
                if (RunLoss.LeavesRun(e, resumed: kept.Resumed.Count > 0))
                    account.Suspend();
                else
                    kept.Forget();
                throw;
            }
        })).ConfigureAwait(false);
    }

    /// <summary>Refuses towers whose states are more than an array holds, before a peer is met: the first is made at the first checkpoint. Of towers that are no shipped ones nobody knows the size.</summary>
    private void CheckStates()
    {
        (DssmJob job, DssmPartyInput input) = (_party.Job, _party.Input);
        if (Runs is null || _party.Plan.OneShot)
            return;
        long number = job.Model.Precision == TowerPrecision.Float32 ? sizeof(float) : sizeof(double);
        // Parameters and two moments; and the parameters of the best epoch in float64, where one is chosen.
        long each = 3 * number + (job.ValidationStop ? sizeof(double) : 0);
        long bytes = 0;
        foreach ((TowerRows? rows, ITowerFactory? own) in new[] { (input.View?.Rows, input.ViewTower), (input.Items?.Content, input.ItemTower) })
            if (rows is not null && (own ?? _towers).Fingerprint.IsEmpty)
                bytes += each * TowerStart.Count(job.Model.Tower(rows.Inputs, job.Training.Optimizer));
        if (bytes > Array.MaxLength)
            throw new ConfigurationException(DssmPlanErrors.InvalidJob, "training.checkpointRounds", $"a state of {_party.Place} would have {bytes} bytes, more than one array holds.",
                "Set training.checkpointRounds to 0 at every party, which keeps no states; or use narrower layers, fewer items or buckets, or float32.");
    }

    /// <summary>Refuses a job that the party's ledger cannot pay for, before a peer is met.</summary>
    private void CheckBudget(string? runId)
    {
        if (!_party.Noises)
            return;
        PrivacyBudget budget = _party.Plan.BudgetOf(_party.Options)!;
        using DssmAccount account = Account(null, runId);
        account.Check(GaussianDp.Mu(budget.Epsilon, budget.Delta));
    }

    private DssmAccount Account(SessionAgreement? agreement, string? runId) => new(_party.Plan, _party.Options, _party.Input.Ledger, runId,
        new Lazy<DataSetIdentity>(() => DssmAccount.IdentityOf(_party.IsActive ? _party.Input.Interactions!.Users : _party.Input.View!.Users)),
        agreement is null ? "" : Convert.ToHexStringLower(agreement.JobDigest.Span));
}
