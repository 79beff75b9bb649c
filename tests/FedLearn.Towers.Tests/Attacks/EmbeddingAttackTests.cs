using System.Numerics.Tensors;
using FedLearn.Dssm;
using FedLearn.Privacy;

namespace FedLearn.Towers.Tests.Attacks;

/// <summary>What the active party reads from the vectors of a view with profiles: the gender of users of whom it was not told, having been told that of half the others. Every figure
/// is an observation of one attack on one data set, not the guarantee: mu = 2, which is what epsilon 10 allows, guarantees an AUC below .92 only.</summary>
public class EmbeddingAttackTests
{
    private const int Cap = 57, Epochs = 2, Seeds = 5;

    /// <summary>(d) Plain protocol, no epsilon. The attacker averages all messages of a user, each scaled to length 1.</summary>
    [Fact]
    public async Task PlainEmbeddings_Gender_IsRead()
    {
        (double means, double squares) = await AttackAsync(Films.Require().Profile, null);
        TestContext.Current.SendDiagnosticMessage($"(d) plain: AUC {means:F3} by means, {squares:F3} by least squares");
        Assert.True(Math.Max(means, squares) > 0.9, $"AUC {means}, {squares}");
    }

    /// <summary>(d) Unit user, claim own messages, total epsilon 10 at delta 1e-5, C = 1, at most 57 samples of a user. The attacker averages all messages of the user; mean over
    /// five seeds of test noise.</summary>
    [Fact]
    public async Task EmbeddingsOfEpsilonTenPerUser_Gender_IsNotRead()
    {
        (double means, double squares) = (0, 0);
        for (int seed = 1; seed <= Seeds; seed++)
        {
            (double m, double s) = await AttackAsync(Films.Require().Profile, Private(EmbeddingUnit.User) with { TestNoiseSeed = seed });
            TestContext.Current.SendDiagnosticMessage($"(d) epsilon 10 a user, seed {seed}: AUC {m:F3} by means, {s:F3} by least squares");
            (means, squares) = (means + m / Seeds, squares + s / Seeds);
        }

        Assert.True(means < 0.6, $"AUC {means}");
        Assert.True(squares < 0.6, $"AUC {squares}");
    }

    /// <summary>(d) Unit sample, claim own messages, total epsilon 10 at delta 1e-5, C = 1. The attacker averages all messages of the user, and succeeds: the same epsilon for another
    /// unit is another promise, which is why each is printed with its unit. A static view offers no unit but the user; this one has a row for every event.</summary>
    [Fact]
    public async Task EmbeddingsOfEpsilonTenPerSample_Gender_IsRead()
    {
        (double means, double squares) = await AttackAsync(AsOfEvents(Films.Require()), Private(EmbeddingUnit.Sample) with { TestNoiseSeed = 1 });
        TestContext.Current.SendDiagnosticMessage($"(d) epsilon 10 a sample: AUC {means:F3} by means, {squares:F3} by least squares");
        Assert.True(Math.Max(means, squares) > 0.65, $"AUC {means}, {squares}");
    }

    private static DssmPrivacyOptions Private(EmbeddingUnit unit) => new()
    {
        Noise = DssmNoise.Embeddings,
        Claim = EmbeddingClaim.OwnMessages,
        Unit = unit,
        Budget = new PrivacyBudget(10, 1e-5),
        Clip = 1,
        MaxSamplesPerUser = Cap,
        Evaluation = EvaluationDisclosure.None,
    };

    /// <summary>The profiles once more for every event.</summary>
    private static ViewTable AsOfEvents(Films films)
    {
        Dictionary<string, int> place = films.Profile.Users.Index().ToDictionary(u => u.Item, u => u.Index, StringComparer.Ordinal);
        Interaction[] events = [.. films.Interactions.Events.Where(e => e.Role == EventRole.Train)];
        TowerRows profile = films.Profile.Rows;
        int width = profile.Inputs.DenseWidth;
        double[] dense = [.. events.SelectMany(e => profile.Dense[(place[films.Interactions.Users[e.User]] * width)..][..width])];
        return new ViewTable(films.Interactions.Users, [.. events.Select(e => e.User)], [.. events.Select(e => e.Moment)], new TowerRows(profile.Inputs, events.Length, dense, []));
    }

    private static async Task<(double Means, double Squares)> AttackAsync(ViewTable profile, DssmPrivacyOptions? privacy)
    {
        Films films = Films.Require();
        DssmJob job = Films.Job(new DssmModelOptions { Layers = [64, 32] }, Epochs, privacy, "profile") with { LabelHasView = true };
        (RecordedRun run, _) = await RecordedRun.TrainAsync(job, [films.Label with { View = films.History }, new() { Party = "profile", View = profile }], typeof(Embeddings));
        IReadOnlyList<Interaction> samples = films.Samples(job);
        int width = job.Model.Layers[^1], users = films.Interactions.Users.Count;
        double[] sums = new double[users * width], counts = new double[users];
        Dictionary<int, double[]> messages = run.Of("profile", "label", typeof(Embeddings)).ToDictionary(m => m.Round, m => ((Embeddings)m.Payload).Values.ToArray());
        // A clipped vector has length 1 already; scaling noise would only throw information away.
        if (privacy is null)
            messages = messages.ToDictionary(m => m.Key, m => Attack.Unit(m.Value, width));
        foreach ((int sample, _, int round, int place) in Films.Places(job, samples.Count))
        {
            int user = samples[sample].User;
            TensorPrimitives.Add<double>(sums.AsSpan(user * width, width), messages[round].AsSpan(place * width, width), sums.AsSpan(user * width, width));
            counts[user]++;
        }

        Dictionary<string, char> genders = films.Set.Users.ToDictionary(u => RatingTables.Id(u.Number), u => u.Profile!.Gender, StringComparer.Ordinal);
        bool[] male = [.. films.Interactions.Users.Select(id => genders[id] == 'M')];
        int[] seen = [.. Enumerable.Range(0, users).Where(u => counts[u] > 0)], told = [.. seen.Where(u => u % 2 == 0)], open = [.. seen.Where(u => u % 2 == 1)];
        double Guess(double[] direction, int user) => TensorPrimitives.Dot<double>(sums.AsSpan(user * width, width), direction) / counts[user];
        double Auc(double[] direction) => Attack.Auc([.. open.Select(u => Guess(direction, u))], i => male[open[i]]);
        return (Auc(Means()), Auc(LeastSquares()));

        // Means of all messages of either gender: few messages of a user weigh less.
        double[] Means()
        {
            double[] direction = new double[width];
            double[] weights = [1 / told.Where(u => !male[u]).Sum(u => counts[u]), 1 / told.Where(u => male[u]).Sum(u => counts[u])];
            foreach (int u in told)
                TensorPrimitives.MultiplyAdd(sums.AsSpan(u * width, width), male[u] ? weights[1] : -weights[0], direction, direction);
            return direction;
        }

        // Linear discriminant, users weighed by their messages.
        double[] LeastSquares()
        {
            double total = told.Sum(u => counts[u]), share = told.Where(u => male[u]).Sum(u => counts[u]) / total;
            double[] center = new double[width], gram = new double[width * width], right = new double[width], x = new double[width];
            foreach (int u in told)
                TensorPrimitives.MultiplyAdd(sums.AsSpan(u * width, width), 1 / total, center, center);
            foreach (int u in told)
            {
                TensorPrimitives.Divide(sums.AsSpan(u * width, width), counts[u], x);
                TensorPrimitives.Subtract(x, center, x);
                for (int i = 0; i < width; i++)
                    TensorPrimitives.MultiplyAdd(x, counts[u] * x[i], gram.AsSpan(i * width, width), gram.AsSpan(i * width, width));
                TensorPrimitives.MultiplyAdd(x, counts[u] * ((male[u] ? 1 : 0) - share), right, right);
            }

            double trace = Enumerable.Range(0, width).Sum(i => gram[i * width + i]);
            for (int i = 0; i < width; i++)
                gram[i * width + i] += 1e-4 * trace / width;
            return Attack.Solve(gram, right);
        }
    }
}
