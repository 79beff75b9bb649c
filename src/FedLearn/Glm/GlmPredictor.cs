using System.Numerics.Tensors;
using FedLearn.Coordination;
using FedLearn.Data;
using FedLearn.Diagnostics;
using FedLearn.Parties;
using FedLearn.Privacy;
using FedLearn.Protocol;

namespace FedLearn.Glm;

/// <summary>Predictions for the common rows, in the order of the active party's table.</summary>
/// <param name="Rows">Rows of the active party's table.</param>
/// <param name="Scores">Linear predictors: score m of row i at m n + i.</param>
/// <param name="Means">Means of the label, likewise: probability, count or value; of several classes their probabilities.</param>
/// <param name="Outputs">Scores of a row: 1, or one a class.</param>
public sealed record GlmPrediction(IReadOnlyList<int> Rows, IReadOnlyList<double> Scores, IReadOnlyList<double> Means, int Outputs = 1);

/// <summary>What one party has after a federated batch prediction.</summary>
/// <param name="Prediction">The predictions; null at a passive party.</param>
/// <param name="OwnRows">Rows that this party brought, common or not. Its own affair: no other party is told by it.</param>
/// <param name="CommonRows">Rows common to all parties.</param>
/// <param name="AlignmentLeaks">What finding the common rows disclosed, as sentences.</param>
/// <param name="AlignmentWarnings">What a user should know of the alignment, as sentences.</param>
public sealed record GlmPredictionResult(GlmPrediction? Prediction, int OwnRows, int CommonRows, IReadOnlyList<string> AlignmentLeaks, IReadOnlyList<string> AlignmentWarnings)
{
    /// <summary>What this party should know of its own rows that were scored, as sentences. In private modes they depend on private rows and are for the party alone.</summary>
    public IReadOnlyList<string> Warnings { get; init; } = [];
}

/// <summary>One party of a federated batch prediction: each passive party discloses its scores of the common rows to the active one.</summary>
/// <remarks>Scores are releases of their own: no claim of training covers them.</remarks>
public sealed class GlmPredictor
{
    private readonly GlmJob _job;
    private readonly GlmPartyInput _input;
    private readonly GlmModel _model;

    /// <summary>Checks job, input and model against each other.</summary>
    /// <param name="job">The job that trained the model.</param>
    /// <param name="input">What this party brings; labels are not needed.</param>
    /// <param name="model">Its part of the model.</param>
    /// <exception cref="ConfigurationException">The job is inconsistent, or the model is another party's or another family's, or was trained with other parties (FL2402).</exception>
    /// <exception cref="PrivacyRefusedException">FL5120: privacy.evaluation of the job is none, or was in the training of the model, in a mode other than none.</exception>
    /// <exception cref="BadInputException">FL3021: the table has other columns than the model.</exception>
    public GlmPredictor(GlmJob job, GlmPartyInput input, GlmModel model)
    {
        (Terms, JoinRequest) = Join(job, input, model, "predict");
        (_job, _input, _model) = (job, input, model);
    }

    /// <summary>Checks job, input and model against each other, and says how the party joins.</summary>
    /// <param name="job">The job that trained the model.</param>
    /// <param name="input">What this party brings.</param>
    /// <param name="model">Its part of the model.</param>
    /// <param name="purpose">What the session does.</param>
    internal static (SessionTerms Terms, JoinRequest Request) Join(GlmJob job, GlmPartyInput input, GlmModel model, string purpose)
    {
        ArgumentNullException.ThrowIfNull(job);
        ArgumentNullException.ThrowIfNull(input);
        ArgumentNullException.ThrowIfNull(input.Table);
        ArgumentNullException.ThrowIfNull(model);
        var plan = GlmPlan.Create(job);
        GlmPartyOptions party = job.Parties.FirstOrDefault(p => p.Party.Name == input.Party)
            ?? throw new ConfigurationException(GlmErrors.InvalidJob, $"party '{input.Party}'", "the job has no party of that name.", "Use a name that the job lists.");
        if (!plan.ScoresMayLeave)
            throw NoScoresLeave(input, "it is none");
        if (model.Party != party.Party || model.JobName != job.Name || !IsOf(job.Model.Family, model))
            throw new ConfigurationException(GlmErrors.OtherModel, $"party '{input.Party}'", "the model was trained by another job, for another party or for another family.",
                "Give the run file and the directory of the same training.");
        CheckParties(job, model);
        // The model knows what the parties agreed on when they trained; the run file may have been changed since.
        if (job.Parties.Count > 1 && model is { Mode: { } mode, Evaluation: { } evaluation } && !GlmPlan.LetsScoresLeave(mode, evaluation))
            throw NoScoresLeave(input, "it was none in the training of this model");
        model.CheckColumns(input.Table);
        SessionTerms terms = GlmJobTerms.Of(job, purpose);
        // Scores of parts of different trainings must not be added up, so the digest of the training stands where a training has the schema's.
        return (terms, new JoinRequest(SessionDesk.ProtocolVersion, party.Party, terms.JobName, terms.TermsDigest, terms.Sections, model.TrainingDigest()));
    }

    private static PrivacyRefusedException NoScoresLeave(GlmPartyInput input, string why) => new(GlmErrors.NoScoresLeave, $"party '{input.Party}', privacy.evaluation",
        $"{why}, so that no passive party sends its scores, and a prediction is their sum.",
        "Set privacy.evaluation to disclosed, or to charged where the mode has it, and train again: what leaves later is part of what the parties agree on before a training.");

    // A sum without the part of one party would look like a score of the model, and be none.
    private static void CheckParties(GlmJob job, GlmModel model)
    {
        if (model.Parties.Count == 0)
            return;
        PartyDescription[] now = [.. job.Parties.Select(p => p.Party)];
        static string Named(IEnumerable<PartyDescription> parties) => string.Join(", ", parties.Select(p => $"'{p.Name}' ({(p.Role == PartyRole.Active ? "active" : "passive")})"));
        string missing = Named(model.Parties.Except(now)), added = Named(now.Except(model.Parties));
        if (missing.Length + added.Length > 0)
            throw new ConfigurationException(GlmErrors.OtherModel, $"party '{model.Party.Name}'",
                $"the model was trained by other parties: {string.Join("; ", ((string[])[missing.Length > 0 ? $"the job lacks {missing}" : "", added.Length > 0 ? $"the training had no {added}" : ""]).Where(t => t.Length > 0))}.",
                "Give the run file of the training, with all of its parties; or train again with the parties that there are.");
    }

    /// <summary>Refuses to add up parts of different trainings.</summary>
    internal static void CheckSameTraining(SessionAgreement agreement, JoinRequest own)
    {
        string others = string.Join(", ", agreement.Parties.Where(p => !p.SchemaFingerprint.Span.SequenceEqual(own.SchemaFingerprint.Span)).Select(p => $"'{p.Name}'"));
        if (others.Length > 0)
            throw new ConfigurationException(GlmErrors.OtherModel, $"party '{own.Party.Name}', joining", $"the parties hold parts of different trainings: the part here and that of {others} were not trained together.",
                "Give every party its part of one and the same training. Parts of one training have the same trainingId, which fedlearn model show prints; files of an earlier release have none. If a part is lost, train again.");
    }

    /// <summary>What the parties must agree on.</summary>
    public SessionTerms Terms { get; }

    /// <summary>With what this party joins a session.</summary>
    public JoinRequest JoinRequest { get; }

    /// <summary>Scores the common rows with the other parties of a session.</summary>
    /// <param name="agreement">What all parties agreed on.</param>
    /// <param name="channels">At the active party one channel to each passive party; at a passive party the one to the active party.</param>
    /// <param name="cancellationToken">Stops; the peers are told.</param>
    /// <returns>What this party has; the active party's holds the predictions.</returns>
    /// <exception cref="ArgumentException">The channels are not one a peer.</exception>
    /// <exception cref="ConfigurationException">FL2402: another party holds a part of another training.</exception>
    /// <exception cref="FedLearnException">Prediction failed; the peers have been told the error's id.</exception>
    public async Task<GlmPredictionResult> PredictAsync(SessionAgreement agreement, IReadOnlyList<IPartyChannel> channels, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(agreement);
        ChannelGuard.CheckCount(channels, _model.Party.Role, _job.Parties.Count);
        SessionTelemetry telemetry = GlmTelemetry.Of("predict", _job, _input);
        return await telemetry.RunAsync(() => ChannelGuard.RunAsync(channels, () =>
        {
            CheckSameTraining(agreement, JoinRequest);
            return PredictCoreAsync(agreement, channels, telemetry, cancellationToken);
        })).ConfigureAwait(false);
    }

    // A job may leave the number of classes open, which the model knows.
    private static bool IsOf(IGlmFamily family, GlmModel model) => model.Family == family.Name && (model.Link ?? family.Link) == family.Link
        && family.Parameters.All(p => !model.FamilyParameters.TryGetValue(p.Key, out double value) || value == p.Value);

    private async Task<GlmPredictionResult> PredictCoreAsync(SessionAgreement agreement, IReadOnlyList<IPartyChannel> channels, SessionTelemetry telemetry, CancellationToken cancellationToken)
    {
        bool active = _model.Party.Role == PartyRole.Active;
        AlignedRows aligned = await GlmTelemetry.AlignAsync(telemetry, _job, _model.Party, _input, agreement, channels, cancellationToken).ConfigureAwait(false);
        int[] common = aligned.Rows;
        double[] scores = await ChannelGuard.ComputeAsync(channels, _ => _model.Score(_input.Table, common), cancellationToken).ConfigureAwait(false), peers = new double[scores.Length];
        foreach (IPartyChannel channel in channels)
        {
            if (active)
            {
                Scores theirs = await channel.ReceiveAsync<Scores>(0, scores.Length, cancellationToken).ConfigureAwait(false);
                TensorPrimitives.Add(peers, ChannelGuard.Packed(theirs, ElementType.Float64, channel, 0).Values.Span, peers);
                continue;
            }

            await channel.SendAsync(0, Disclosure.Unprotected(new Scores(scores), "prediction scores"), cancellationToken).ConfigureAwait(false);
        }

        foreach (IPartyChannel channel in channels)
            await channel.CompleteAsync(cancellationToken).ConfigureAwait(false);
        int own = _input.Table.Ids.Count;
        var result = new GlmPredictionResult(null, own, common.Length, aligned.Leaks, [.. aligned.Warnings, .. SmallOverlap.Warnings(_input.Party, own, common.Length)])
        {
            Warnings = [.. CellsOutside.Warnings(_input.Party, _model.Features, _input.Table, common, "scored", GlmPlan.IsPrivate(_model.Mode ?? _job.Privacy.Mode))],
        };
        if (!active)
            return result;
        _model.PeerLink?.Apply(peers);
        TensorPrimitives.Add(scores, peers, scores);
        int[] order = [.. Enumerable.Range(0, common.Length).OrderBy(i => common[i])];
        int n = common.Length, outputs = _model.Outputs;
        double[] means = new double[scores.Length];
        GlmFamilies.WithOutputs(_job.Model.Family, outputs).Means(scores, means);
        double[] Ordered(double[] values) => [.. Enumerable.Range(0, outputs).SelectMany(m => order.Select(i => values[m * n + i]))];
        return result with { Prediction = new([.. order.Select(i => common[i])], Ordered(scores), Ordered(means), outputs) };
    }
}
