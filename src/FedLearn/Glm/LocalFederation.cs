using FedLearn.Coordination;
using FedLearn.Diagnostics;
using FedLearn.Protocol;

namespace FedLearn.Glm;

/// <summary>All parties of a job in one process, over channels in memory: for experiments and tests.</summary>
public static partial class LocalFederation
{
    /// <summary>Trains a job.</summary>
    /// <param name="job">The job.</param>
    /// <param name="inputs">What each party brings; one a party of the job.</param>
    /// <param name="options">Settings of the channels; null for the defaults.</param>
    /// <param name="progress">Told by every party; null for nobody.</param>
    /// <param name="cancellationToken">Stops the job.</param>
    /// <returns>Each party's result, the active party's first, then in the job's order.</returns>
    /// <exception cref="FedLearnException">The job failed; the error of the party that failed first.</exception>
    public static async Task<IReadOnlyList<GlmPartyResult>> TrainAsync(GlmJob job, IReadOnlyList<GlmPartyInput> inputs,
        ChannelOptions? options = null, IProgress<GlmProgress>? progress = null, CancellationToken cancellationToken = default)
    {
        GlmTrainer[] parties = Trainers(job, inputs);
        return await TrainAsync(parties, options, progress, cancellationToken).ConfigureAwait(false);
    }

    /// <summary>Trains a job, and tells how it goes.</summary>
    /// <param name="job">The job.</param>
    /// <param name="inputs">What each party brings; one a party of the job.</param>
    /// <param name="options">Settings of the channels; null for the defaults.</param>
    /// <param name="cancellationToken">Stops the job.</param>
    /// <returns>Reports of every party, in the order they were made, then each party's result, the active party's first. The job starts with the enumeration;
    /// leaving it early stops the job.</returns>
    /// <exception cref="FedLearnException">The job and the inputs do not fit each other. Thrown by the enumeration: the job failed.</exception>
    public static IAsyncEnumerable<GlmTrainingEvent> RunAsync(GlmJob job, IReadOnlyList<GlmPartyInput> inputs, ChannelOptions? options = null,
        CancellationToken cancellationToken = default)
    {
        GlmTrainer[] parties = Trainers(job, inputs);
        return GlmTrainingStream.RunAsync((progress, stop) => TrainAsync(parties, options, progress, stop), cancellationToken);
    }

    /// <summary>Scores the common rows of the parties' tables with a trained model.</summary>
    /// <param name="job">The job that trained it.</param>
    /// <param name="inputs">What each party brings.</param>
    /// <param name="models">Each party's part.</param>
    /// <param name="options">Settings of the channels; null for the defaults.</param>
    /// <param name="cancellationToken">Stops.</param>
    /// <returns>The scores, at the active party.</returns>
    /// <exception cref="PrivacyRefusedException">FL5120: privacy.evaluation of the job is none, or was in the training of the model, in a mode other than none.</exception>
    /// <exception cref="FedLearnException">Prediction failed; the error of the party that failed first.</exception>
    public static async Task<GlmPrediction> PredictAsync(GlmJob job, IReadOnlyList<GlmPartyInput> inputs, IReadOnlyList<GlmModel> models,
        ChannelOptions? options = null, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(models);
        foreach (GlmModel model in models)
            ArgumentNullException.ThrowIfNull(model, nameof(models));
        GlmPredictor[] parties = [.. InOrder(job, inputs, i => i.Party)
            .Select(i => new GlmPredictor(job, i, models.FirstOrDefault(m => m.Party.Name == i.Party)
                ?? throw new ConfigurationException(GlmErrors.BadModelFile, $"party '{i.Party}'", "its part of the model is missing.", "Give one part a party.")))];
        IReadOnlyList<GlmPredictionResult> results = await LocalSession.RunAsync(parties[0].Terms, [.. parties.Select(p => p.JoinRequest)],
            options ?? new ChannelOptions(), (i, agreement, channels, stop) => parties[i].PredictAsync(agreement, channels, stop), cancellationToken).ConfigureAwait(false);
        return results[0].Prediction!;
    }

    private static GlmTrainer[] Trainers(GlmJob job, IReadOnlyList<GlmPartyInput> inputs) => [.. InOrder(job, inputs, i => i.Party).Select(i => new GlmTrainer(job, i))];

    private static Task<IReadOnlyList<GlmPartyResult>> TrainAsync(GlmTrainer[] parties, ChannelOptions? options, IProgress<GlmProgress>? progress, CancellationToken cancellationToken) =>
        LocalSession.RunAsync(parties[0].Terms, [.. parties.Select(p => p.JoinRequest)], options ?? new ChannelOptions(),
            (i, agreement, channels, stop) => parties[i].TrainAsync(agreement, channels, progress, stop), cancellationToken);

    private static T[] InOrder<T>(GlmJob job, IReadOnlyList<T> inputs, Func<T, string> name)
    {
        GlmPlan.CheckGiven(job);
        ArgumentNullException.ThrowIfNull(inputs);
        foreach (T input in inputs)
            ArgumentNullException.ThrowIfNull(input, nameof(inputs));
        return [.. job.Parties.OrderBy(p => p.Party.Role).Select(p => inputs.FirstOrDefault(i => name(i) == p.Party.Name)
            ?? throw new ConfigurationException(GlmErrors.InvalidJob, $"party '{p.Party.Name}'", "it brings no input.", "Give one input a party."))];
    }
}
