using System.Globalization;
using System.Text.Json;
using FedLearn.Coordination;
using FedLearn.Parties;
using FedLearn.Privacy;

namespace FedLearn.Dssm;

/// <summary>What the parties of a recommendation job must agree on, as digests.</summary>
public static class DssmJobTerms
{
    /// <summary>The terms of a job: everything but paths, addresses, transport, ledgers, test noise and schemas, which each party adds itself.</summary>
    /// <param name="job">The job.</param>
    /// <param name="purpose">What the session does: <c>train</c>, <c>evaluate</c> or <c>recommend</c>. Sessions of different purposes do not mix.</param>
    /// <param name="newUsers">Of <c>recommend</c>: whether the views also send vectors of people of whom the active party has no events.</param>
    public static SessionTerms Of(DssmJob job, string purpose = "train", bool newUsers = false)
    {
        ArgumentNullException.ThrowIfNull(job);
        return SessionTerms.Of(job.Name,
        [
            TermSections.Name(job.Name, purpose),
            ("model", json => Model(json, job.Model)),
            ("training", json => Training(json, job)),
            ("privacy", json => Privacy(json, job)),
            TermSections.Alignment(job.Alignment, job.AlignmentProof),
            TermSections.Parties(job.Parties.Select(p => p.Party)),
            .. purpose == "recommend" ? [("users", json => json.WriteBoolean("new", newUsers))] : Array.Empty<(string, Action<Utf8JsonWriter>)>(),
        ], job.Parties.Select(p => p.Party));
    }

    private static void Model(Utf8JsonWriter json, DssmModelOptions model)
    {
        json.WriteString("type", "dssm");
        json.WriteString("fusion", model.Fusion.ToString());
        json.WriteString("layers", string.Join(' ', model.Layers.Select(width => width.ToString(CultureInfo.InvariantCulture))));
        json.WriteString("activation", model.Activation.ToString());
        json.WriteBoolean("layerNorm", model.LayerNorm);
        json.WriteNumber("dropout", model.Dropout);
        json.WriteNumber("gamma", model.Gamma);
        json.WriteString("loss", model.Loss.ToString());
        json.WriteNumber("negatives", model.Negatives);
        json.WriteString("negativeSource", model.NegativeSource.ToString());
        json.WriteNumber("viewDropout", model.ViewDropout);
        json.WriteBoolean("learnViewWeights", model.LearnViewWeights);
        foreach ((string view, double weight) in model.ViewWeights.OrderBy(w => w.Key, StringComparer.Ordinal))
            json.WriteNumber("weight." + view, weight);
        json.WriteBoolean("itemBias", model.ItemBias);
        json.WriteString("precision", model.Precision.ToString());
    }

    private static void Training(Utf8JsonWriter json, DssmJob job)
    {
        DssmTrainingOptions training = job.Training;
        json.WriteNumber("epochs", training.Epochs);
        json.WriteNumber("batchSize", training.BatchSize);
        json.WriteString("optimizer", training.Optimizer.Kind.ToString());
        json.WriteNumber("rate", training.Optimizer.Rate);
        json.WriteNumber("weightDecay", training.Optimizer.WeightDecay);
        json.WriteBoolean("validationStop", job.ValidationStop);
        json.WriteNumber("patience", training.Patience);
        json.WriteNumber("seed", training.Seed);
        json.WriteNumber("checkpointRounds", training.CheckpointRounds);
        json.WriteString("sampleTime", job.SampleTime.ToString());
        json.WriteBoolean("maskedSum", job.MaskedSum);
        json.WriteBoolean("labelHasView", job.LabelHasView);
    }

    private static void Privacy(Utf8JsonWriter json, DssmJob job)
    {
        DssmPrivacyOptions privacy = job.Privacy;
        json.WriteString("noise", privacy.Noise.ToString());
        if (!privacy.IsPrivate)
            return;
        json.WriteString("claim", privacy.Claim.ToString());
        json.WriteString("unit", privacy.Unit.ToString());
        json.WriteNumber("clip", privacy.Clip);
        json.WriteNumber("parameterClip", privacy.ParameterClip);
        json.WriteNumber("messageShare", privacy.MessageShare);
        json.WriteNumber("historyEvents", privacy.HistoryEvents ?? -1);
        json.WriteNumber("maxSamplesPerUser", privacy.MaxSamplesPerUser ?? -1);
        json.WriteString("evaluation", privacy.Evaluation.ToString());
        foreach (DssmPartyOptions party in job.Parties)
        {
            PrivacyBudget? budget = party.Budget ?? privacy.Budget;
            json.WriteNumber(party.Party.Name + ".epsilon", budget?.Epsilon ?? -1);
            json.WriteNumber(party.Party.Name + ".delta", budget?.Delta ?? -1);
        }
    }
}
