using System.Globalization;
using System.Text.Json;
using FedLearn.Coordination;
using FedLearn.Data;
using FedLearn.Parties;
using FedLearn.Privacy;

namespace FedLearn.Glm;

/// <summary>What the parties of a job must agree on, as digests.</summary>
public static class GlmJobTerms
{
    /// <summary>The terms of a job: everything but paths, addresses, transport, ledgers, test noise and schemas, which each party adds itself; in mode he+dp also whether the noise is test noise.</summary>
    /// <param name="job">The job.</param>
    /// <param name="purpose">What the session does: <c>train</c>, <c>predict</c> or <c>serve</c>. Sessions of different purposes do not mix.</param>
    /// <returns>Digests of each section's canonical JSON (fixed order, defaults filled in, no white space) and of all of them.</returns>
    public static SessionTerms Of(GlmJob job, string purpose = "train")
    {
        ArgumentNullException.ThrowIfNull(job);
        return SessionTerms.Of(job.Name,
        [
            TermSections.Name(job.Name, purpose),
            ("model", json => Model(json, job.Model)),
            ("training", json => Training(json, job)),
            ("privacy", json => Privacy(json, job)),
            ("preprocessing", json => Preprocessing(json, job)),
            TermSections.Alignment(job.Alignment, job.AlignmentProof),
            ("evaluation", json => Evaluation(json, job)),
            TermSections.Parties(job.Parties.Select(p => p.Party)),
        ], job.Parties.Select(p => p.Party));
    }

    /// <summary>The terms of the session that the arbiter of a job in mode he or he+dp serves, beside the parties' own.</summary>
    /// <param name="job">The job.</param>
    /// <returns>The arbiter first, then the parties.</returns>
    public static SessionTerms OfArbiter(GlmJob job)
    {
        SessionTerms terms = Of(job, "arbiter");
        return terms with { Parties = [new PartyDescription(job.Privacy.He.Arbiter, PartyRole.Arbiter), .. terms.Parties] };
    }

    private static void Model(Utf8JsonWriter json, GlmModelOptions model)
    {
        json.WriteString("family", model.Family.Name);
        if (model.Family is MultinomialFamily multinomial)
            Optional(json, "classes", multinomial.Classes);
        else
            foreach (string parameter in model.Family.Parameters.Keys.Order(StringComparer.Ordinal))
                json.WriteNumber(parameter, model.Family.Parameters[parameter]);
        json.WriteNumber("l2", model.L2);
        json.WriteNumber("l1", model.L1);
        json.WriteString("intercept", model.Intercept.ToString());
    }

    private static void Training(Utf8JsonWriter json, GlmJob job)
    {
        GlmTrainingOptions t = job.Training;
        json.WriteNumber("epochs", GlmPlan.EpochsOf(job));
        Optional(json, "batchesPerEpoch", t.BatchSize is null ? t.BatchesPerEpoch ?? 1 : null);
        Optional(json, "batchSize", t.BatchSize);
        // The rule in place of the number, which follows from terms of other sections.
        if (t.StepSize is { } step)
            json.WriteNumber("stepSize", step);
        else
            json.WriteString("stepSize", "1/L or 0.1");
        Optional(json, "weightNorm", t.WeightNorm);
        Optional(json, "residualClip", t.ResidualClip);
        Optional(json, "sampleWeightBound", t.SampleWeightBound);
        Optional(json, "offsetBound", t.OffsetBound);
        json.WriteString("classWeights", t.ClassWeights switch
        {
            null => "none",
            GlmClassWeights.Declared declared => string.Join(' ', declared.Weights.Select(w => w.ToString("R", CultureInfo.InvariantCulture))),
            _ => "balanced",
        });
        json.WriteString("earlyStopping", t.EarlyStopping is not { } stopping ? "none" : string.Create(CultureInfo.InvariantCulture,
            $"{stopping.Metric} {stopping.Patience} {stopping.MinDelta:R} {(stopping.HoldsOut ? stopping.HoldOut : 0):R}"));
        json.WriteBoolean("warmStart", t.WarmStart);
        json.WriteString("optimizer", GlmPlan.OptimizerOf(job).ToString());
        json.WriteNumber("seed", t.Seed);
        json.WriteBoolean("reshuffle", t.Reshuffle);
        json.WriteString("messagePrecision", t.MessagePrecision.ToString());
        json.WriteNumber("latticeBits", t.LatticeBits);
        json.WriteNumber("checkpointRounds", t.CheckpointRounds);
    }

    private static void Privacy(Utf8JsonWriter json, GlmJob job)
    {
        GlmPrivacyOptions p = job.Privacy;
        json.WriteString("mode", p.Mode.ToString());
        if (p.Mode == PrivacyMode.None)
            return;
        if (JointRules.Covers(p.Mode))
        {
            json.WriteString("he.scheme", p.He.Scheme.ToString());
            Optional(json, "he.keyBits", p.He.Scheme == HeScheme.Ckks ? null : p.He.KeyBits);
            json.WriteString("he.arbiter", p.He.Arbiter);
            json.WriteNumber("he.rowsPerColumn", p.He.RowsPerColumn);
            json.WriteNumber("he.mostRounds", p.He.MostRounds);
            // The arbiter draws the noise that everybody's claim and ledger speak of: whether it protects is no matter of a party's own.
            if (p.Mode == PrivacyMode.HeDp && p.TestNoiseSeed is not null)
                json.WriteBoolean("testNoise", true);
        }

        json.WriteString("calibration", p.Calibration.ToString());
        json.WriteString("adjacency", p.Adjacency.ToString());
        json.WriteString("unit", p.Unit.ToString());
        json.WriteNumber("share", p.Share);
        json.WriteString("evaluation", p.Evaluation.ToString());
        json.WriteNumber("evaluationShare", p.EvaluationShare);
        json.WriteNumber("oneRound.scoreClip", p.OneRound.ScoreClip);
        json.WriteNumber("oneRound.alpha", p.OneRound.Alpha);
        json.WriteNumber("oneRound.gradientClip", p.OneRound.GradientClip);
        Optional(json, "oneRound.labelRate", p.OneRound.LabelRate);
        foreach (GlmPartyOptions party in job.Parties)
        {
            PrivacyBudget? budget = party.Budget ?? p.Budget;
            Optional(json, party.Party.Name + ".epsilon", budget?.Epsilon);
            Optional(json, party.Party.Name + ".delta", budget?.Delta);
        }
    }

    private static void Preprocessing(Utf8JsonWriter json, GlmJob job)
    {
        PreprocessingOptions preprocessing = GlmPlan.PreprocessingOf(job);
        json.WriteString("scaling", preprocessing.Scaling.ToString());
        json.WriteString("rows", preprocessing.Rows.ToString());
        json.WriteBoolean("constant", GlmPlan.ConstantOf(job));
        json.WriteNumber("rowNorm", preprocessing.RowNorm);
    }

    private static void Evaluation(Utf8JsonWriter json, GlmJob job)
    {
        WriteSplit(json, job.Split);
        json.WriteBoolean("inference", job.Inference);
        if (job.Fold is { } fold)
            json.WriteString("fold", string.Create(CultureInfo.InvariantCulture, $"{fold.Index} of {fold.Count}"));
    }

    private static void WriteSplit(Utf8JsonWriter json, SplitRule split)
    {
        switch (split)
        {
            case SplitRule.FromFile:
                json.WriteString("split", "file");
                break;
            case SplitRule.ByHash byHash:
                json.WriteString("split", "sha256");
                json.WriteNumber("mod", byHash.Modulus);
                json.WriteStartArray("test");
                foreach (int residue in byHash.Test.Order())
                    json.WriteNumberValue(residue);
                json.WriteEndArray();
                break;
            default:
                json.WriteString("split", "none");
                break;
        }
    }

    private static void Optional(Utf8JsonWriter json, string name, double? value)
    {
        if (value is { } number)
            json.WriteNumber(name, number);
        else
            json.WriteNull(name);
    }
}
