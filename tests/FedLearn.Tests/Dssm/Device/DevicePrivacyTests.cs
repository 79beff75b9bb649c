using FedLearn.Diagnostics;
using FedLearn.Dssm;
using FedLearn.Privacy;
using FedLearn.Tests.Shared;

namespace FedLearn.Tests.Dssm.Device;

public class DevicePrivacyTests
{
    private static (DeviceWork Work, DeviceParticipation Participation) Device(DeviceJob job, string device = "device", IPrivacyReservation? reservation = null)
    {
        var plan = new DevicePlan(job);
        var work = new DeviceWork(plan, DeviceScene.Towers);
        return (work, new DeviceParticipation(plan, work.Calibration, device, reservation));
    }

    [Fact]
    public void Willing_SecretCoins_AreFairAndIndependentOfEachOther()
    {
        // 20,000 coins of q = .3 by 50 devices: |count - nq| and the number of changes are each beyond 5 deviations with a probability below 6e-7; two-sided, false alarms below 2e-6.
        DeviceJob job = DeviceScene.Private(50) with { Training = new() { Participation = 0.3 } };
        int devices = 50, attempts = 400, yes = 0, both = 0;
        for (int d = 0; d < devices; d++)
        {
            (DeviceWork work, DeviceParticipation participation) = Device(job, "device " + d);
            using (work)
            {
                bool last = false;
                for (int a = 0; a < attempts; a++)
                {
                    bool now = participation.Willing(a);
                    yes += now ? 1 : 0;
                    both += now && last ? 1 : 0;
                    last = now;
                }
            }
        }

        double n = devices * attempts, pairs = devices * (attempts - 1), q = 0.3;
        Assert.InRange(yes, n * q - 5 * Math.Sqrt(n * q * (1 - q)), n * q + 5 * Math.Sqrt(n * q * (1 - q)));
        // Pairs of neighbours: mean q^2, variance q^2 - q^4 + 2 (q^3 - q^4) a pair.
        double deviation = Math.Sqrt(pairs * (q * q - Math.Pow(q, 4) + 2 * (Math.Pow(q, 3) - Math.Pow(q, 4))));
        Assert.InRange(both, pairs * q * q - 5 * deviation, pairs * q * q + 5 * deviation);
    }

    [Fact]
    public void Willing_SecretCoins_DifferFromRunToRun_AndPublicOnesDoNot()
    {
        bool[] Coins(DeviceJob job)
        {
            (DeviceWork work, DeviceParticipation participation) = Device(job);
            using (work)
                return [.. Enumerable.Range(0, 200).Select(participation.Willing)];
        }

        // Equal by chance with probability 2^-200.
        Assert.NotEqual(Coins(DeviceScene.Private(5)), Coins(DeviceScene.Private(5)));
        Assert.Equal(Coins(DeviceScene.Job(5)), Coins(DeviceScene.Job(5)));
    }

    [Fact]
    public void Release_OverTheCap_IsRefused_AndTheDeviceStaysOut()
    {
        DeviceJob job = DeviceScene.Private(5);
        job = job with { Training = job.Training with { Participation = 1 }, Privacy = job.Privacy with { MaxParticipations = 2 } };
        (DeviceWork work, DeviceParticipation participation) = Device(job);
        using (work)
        {
            for (int i = 0; i < 2; i++)
            {
                Assert.True(participation.Willing(i));
                Assert.Equal(Protection.Noise, participation.Release(new double[work.UploadLength]).Protection);
            }

            Assert.False(participation.Willing(2));
            Assert.Equal(DeviceErrors.ParticipationsSpent, Assert.Throws<PrivacyRefusedException>(() => participation.Release(new double[work.UploadLength])).Id);
            Assert.Equal(2, participation.Count);
        }
    }

    /// <summary>The server picks the model. A device that gave up where its own rows overflow would tell of them without noise.</summary>
    /// <param name="fusion">How views are put together.</param>
    /// <param name="perView">Whether each view clips by itself.</param>
    [Theory]
    [InlineData(DssmFusion.Late, false)]
    [InlineData(DssmFusion.Late, true)]
    [InlineData(DssmFusion.Sum, false)]
    public void Release_AtAModelThatOverflows_IsNoisyNumbersWhateverTheRows(DssmFusion fusion, bool perView)
    {
        DeviceJob job = DeviceScene.Private(8);
        job = job with { Model = job.Model with { Fusion = fusion }, Privacy = job.Privacy with { ClipPerView = perView } };
        double[] Exact(DeviceJob of, DeviceData data)
        {
            using DeviceWork work = DeviceScene.Work(of);
            double[] update = new double[work.FederatedLength], model = [.. Enumerable.Range(0, update.Length).Select(i => i % 3 == 0 ? -1.7e308 : 1.7e308)];
            work.Update(data, model, [], 0, update);
            return update;
        }

        DeviceData[] devices = DeviceScene.Devices(8);
        Assert.Contains(devices, data => !Exact(job with { Privacy = new() { Clip = 0.5, ClipPerView = perView, SecureAggregation = false } }, data).All(double.IsFinite));
        foreach (DeviceData data in devices)
        {
            (DeviceWork work, DeviceParticipation participation) = Device(job, data.Device);
            using (work)
                Assert.Equal(Protection.Noise, participation.Release(Exact(job, data)).Protection);
        }
    }

    /// <summary>As above where a device takes several steps, or keeps user models: what a step made of them goes into the tower again.</summary>
    [Theory]
    [InlineData(DeviceAlgorithm.FedAvg, DeviceAggregation.ItemAndUser, false)]
    [InlineData(DeviceAlgorithm.FedAvg, DeviceAggregation.ItemOnly, false)]
    [InlineData(DeviceAlgorithm.FedSgd, DeviceAggregation.ItemOnly, false)]
    [InlineData(DeviceAlgorithm.FedSgd, DeviceAggregation.ItemOnly, true)]
    public void Update_StepsFromAModelThatOverflows_GiveNumbersAndLeaveOwnModelsUsable(DeviceAlgorithm algorithm, DeviceAggregation aggregate, bool perView)
    {
        DeviceJob job = DeviceScene.Private(8);
        job = job with { Training = job.Training with { Algorithm = algorithm, Aggregate = aggregate, LocalSteps = 3 }, Privacy = job.Privacy with { ClipPerView = perView } };
        using DeviceWork work = DeviceScene.Work(job);
        double[] hostile = [.. Enumerable.Range(0, work.FederatedLength).Select(i => i % 3 == 0 ? -1.7e308 : 1.7e308)];
        bool diverged = false;
        foreach (DeviceData data in DeviceScene.Devices(8))
        {
            double[] own = work.Start[work.FederatedLength..].ToArray(), update = new double[work.FederatedLength];
            work.Update(data, hostile, own, 0, update);
            diverged |= work.HasDiverged;
            Assert.False(data.Samples == 0 && work.HasDiverged);
            Assert.All(update, number => Assert.True(double.IsFinite(number)));
            Assert.All(own, number => Assert.True(double.IsFinite(number)));
            work.Update(data, work.Start[..work.FederatedLength], own, 1, update);
            Assert.Equal(data.Samples > 0, DeviceScene.Norm(update) > 0);
            Assert.False(work.HasDiverged);
        }

        Assert.True(diverged);
    }

    [Fact]
    public void Release_AfterARestart_GoesOnAfterWhatWasKept()
    {
        DeviceJob job = DeviceScene.Private(5);
        job = job with { Training = job.Training with { Participation = 1 }, Privacy = job.Privacy with { MaxParticipations = 3 } };
        var kept = new KeptMessages();
        (DeviceWork work, DeviceParticipation first) = Device(job, "device", kept);
        using (work)
        {
            first.Release(new double[work.UploadLength]);
            first.Release(new double[work.UploadLength]);
            (DeviceWork again, DeviceParticipation second) = Device(job, "device", kept);
            using (again)
            {
                Assert.Equal(2, second.Count);
                second.Release(new double[work.UploadLength]);
                Assert.False(second.Willing(9));
                Assert.Equal(3, kept.Kept);
            }
        }
    }

    [Fact]
    public void Release_SummedOverTheHonestSurvivors_HasTheDeclaredNoise()
    {
        // n_min = 4 clients of sigma C / sqrt(4): their sum deviates by sigma C. 4 d numbers, squares summed over 20 sums: chi-squared with n degrees; |z| > 5 has probability
        // below 6e-7.
        DeviceJob job = DeviceScene.Private(9, threshold: 5);
        job = job with { Privacy = job.Privacy with { Colluders = 1, NoiseMultiplier = 1.5, Clip = 0.25, MaxParticipations = 100 } };
        double squares = 0;
        int count = 0;
        (DeviceWork work, DeviceParticipation participation) = Device(job);
        using (work)
        {
            for (int round = 0; round < 20; round++)
            {
                double[] sum = new double[work.UploadLength];
                for (int client = 0; client < 4; client++)
                    foreach ((int j, double value) in participation.Release(new double[work.UploadLength]).Payload.Values.ToArray().Index())
                        sum[j] += value;
                squares += sum.Sum(value => value * value);
                count += sum.Length;
            }
        }

        double expected = Math.Pow(1.5 * 0.25, 2);
        double z = (squares / expected - count) / Math.Sqrt(2.0 * count);
        Assert.InRange(z, -5, 5);
    }

    [Fact]
    public void Statement_HasBothFigures_AsTheyAreByHand()
    {
        DeviceJob job = DeviceScene.Private(100, threshold: 8);
        job = job with { Training = job.Training with { Rounds = 60, Participation = 0.1 }, Privacy = job.Privacy with { NoiseMultiplier = 5, MaxParticipations = 12, Colluders = 2 } };
        using var simulation = new DeviceSimulation(job, DeviceScene.Devices(100), DeviceScene.Towers);
        DevicePrivacyStatement statement = simulation.Privacy;
        // mu = kappa sqrt(R)/sigma; slack of the lattice is of the order of 1e-6.
        Assert.InRange(statement.Figures[0].Mu!.Value, Math.Sqrt(12) / 5, Math.Sqrt(12) / 5 * (1 + 1e-5));
        Assert.InRange(statement.Figures[0].Epsilon, GaussianDp.Epsilon(Math.Sqrt(12) / 5, 1e-5), GaussianDp.Epsilon(Math.Sqrt(12) / 5, 1e-5) * (1 + 1e-4));
        double later = new PldAccountant(SampleVisibility.HiddenFromObserver, new SubsampledGaussian(0.1, 5, 60)).Epsilon(1e-5).Upper;
        Assert.InRange(statement.Figures[1].Epsilon, later * (1 - 1e-4), later * (1 + 1e-3));
        Assert.Equal("add/remove", statement.Figures[1].Adjacency);
        Assert.InRange(statement.UnmaskedMuPerRound, Math.Sqrt(6) / 5, Math.Sqrt(6) / 5 * (1 + 1e-5));
        Assert.Contains("unit device", statement.Claims[0], StringComparison.Ordinal);
        Assert.Contains("server, honest but curious", statement.Claims[0], StringComparison.Ordinal);
        Assert.Contains(statement.Warnings, w => w.Contains("poisoning cannot be checked under masks", StringComparison.Ordinal));
        Assert.DoesNotContain(statement.Warnings, w => w.Contains("is above 10", StringComparison.Ordinal));
        using var loud = new DeviceSimulation(job with { Privacy = job.Privacy with { NoiseMultiplier = .5 } }, DeviceScene.Devices(100), DeviceScene.Towers);
        Assert.Contains(loud.Privacy.Warnings, w => w.Contains("is above 10, where it promises little", StringComparison.Ordinal));
        // Replacing a device is two zero-outs.
        using var replaced = new DeviceSimulation(job with { Privacy = job.Privacy with { Adjacency = Adjacency.ReplaceOne } }, DeviceScene.Devices(100), DeviceScene.Towers);
        Assert.InRange(replaced.Privacy.Figures[0].Mu!.Value / statement.Figures[0].Mu!.Value, 2 - 1e-9, 2 + 1e-9);
        // Without masks the figure against the server is that of single updates.
        using var unmasked = new DeviceSimulation(job with { Privacy = job.Privacy with { SecureAggregation = false } }, DeviceScene.Devices(100), DeviceScene.Towers);
        Assert.InRange(unmasked.Privacy.Figures[0].Mu!.Value, Math.Sqrt(6 * 12) / 5, Math.Sqrt(6 * 12) / 5 * (1 + 1e-5));
    }

    [Theory]
    [InlineData(DeviceObserver.Server, true)]
    [InlineData(DeviceObserver.Server, false)]
    [InlineData(DeviceObserver.Later, true)]
    [InlineData(DeviceObserver.Later, false)]
    public void Statement_OfABudget_KeepsItAgainstItsObserver(DeviceObserver observer, bool masked)
    {
        DeviceJob job = DeviceScene.Private(40);
        job = job with { Privacy = job.Privacy with { NoiseMultiplier = null, Budget = new(4, 1e-5), BudgetAgainst = observer, SecureAggregation = masked } };
        using var simulation = new DeviceSimulation(job, DeviceScene.Devices(40), DeviceScene.Towers);
        Assert.InRange(simulation.Privacy.Figures.Single(f => f.Observer == observer).Epsilon, 3.9, 4);
    }

    [Fact]
    public void Client_ChargesItsLedger_InFull_AndGivesBackWhatItDidNotSpend()
    {
        DeviceJob job = DeviceScene.Private(5);
        var ledger = new InMemoryLedger();
        using (var client = new DeviceClient(job, DeviceScene.Devices(1)[0], DeviceScene.Towers, new() { Ledger = ledger }))
        {
            PrivacyCharge charge = ledger.Entries.Single().Charge;
            Assert.Equal((10, Adjacency.ZeroOut, 1.0), (charge.Messages, charge.Adjacency, ledger.Entries[0].Share));
            Assert.InRange(charge.MuSquared, 10 / 4.0, 10 / 4.0 * (1 + 1e-5));
            Assert.Equal(0, client.Participations);
        }

        Assert.Equal((ChargeState.Settled, 0.0), (ledger.Entries[0].State, ledger.Entries[0].Share));
    }

    [Fact]
    public void Client_Suspended_StaysChargedInFull()
    {
        var ledger = new InMemoryLedger();
        var towers = new BreakingTowers();
        var client = new DeviceClient(DeviceScene.Private(5), DeviceScene.Devices(1)[0], towers, new() { Ledger = ledger });
        client.Suspend();
        Assert.Equal((ChargeState.Reserved, 1.0), (ledger.Entries[0].State, ledger.Entries[0].Share));
        Assert.Equal((3, 0), (towers.Made, towers.Alive));
    }

    [Fact]
    public void Client_DisposedWhereTheLedgerFails_LetsItsTowersGoAndHidesNoError()
    {
        var ledger = new BrokenLedger();
        var towers = new BreakingTowers();
        var client = new DeviceClient(DeviceScene.Private(5), DeviceScene.Devices(1)[0], towers, new() { Ledger = ledger });
        client.Dispose();
        client.Dispose();
        Assert.True(ledger.IsDisposed);
        Assert.Equal((3, 0), (towers.Made, towers.Alive));
    }

    [Fact]
    public void Client_ThatItsLedgerRefuses_LetsItsTowersGo()
    {
        var towers = new BreakingTowers();
        Assert.Throws<PrivacyRefusedException>(() => new DeviceClient(DeviceScene.Private(5), DeviceScene.Devices(1)[0], towers, new() { Ledger = new BrokenLedger { Refuses = true } }));
        Assert.Equal((3, 0), (towers.Made, towers.Alive));
        Assert.Throws<InvalidOperationException>(() => new DeviceClient(DeviceScene.Job(5), DeviceScene.Devices(1)[0], towers = new BreakingTowers(most: 2)));
        Assert.Equal((3, 0), (towers.Made, towers.Alive));
    }

    /// <summary>A ledger whose reservation cannot be settled, or that refuses every charge.</summary>
    private sealed class BrokenLedger : IPrivacyLedger, IPrivacyReservation
    {
        public bool Refuses { get; init; }

        public bool IsDisposed { get; private set; }

        public string? Warning => null;

        public IReadOnlyList<LedgerEntry> Entries => [];

        public string RunId => "broken";

        public int Kept => 0;

        public void Check(PrivacyCharge charge) { }

        public IPrivacyReservation Reserve(PrivacyCharge charge, KeptRelease? kept = null) => Refuses ? throw Fault() : this;

        public byte[]? Find(string party, string key) => null;

        public byte[]? Find(int index) => null;

        public void Keep(int index, ReadOnlySpan<byte> message) => throw Fault();

        public void Settle(double share) => throw Fault();

        public void Dispose() => IsDisposed = true;

        private static PrivacyRefusedException Fault() => new(PrivacyErrors.RunReservedOtherwise, "ledger", "it is broken.", "Mend it.");
    }

    public static TheoryData<string, string> Refused => new()
    {
        { "clip", DeviceErrors.BoundMissing }, { "cap", DeviceErrors.BoundMissing }, { "threshold", DeviceErrors.BoundMissing }, { "colluders", DeviceErrors.ThresholdTooLow },
        { "active", DeviceErrors.BoundMissing }, { "concat", DeviceErrors.ModelNotForDevices }, { "inbatch", DeviceErrors.ModelNotForDevices },
        { "popularity", DeviceErrors.ModelNotForDevices }, { "bias", DeviceErrors.ModelNotForDevices }, { "per view sum", DeviceErrors.InvalidJob },
        { "q", DeviceErrors.InvalidJob }, { "views", DeviceErrors.InvalidJob }, { "sigma", DeviceErrors.InvalidJob },
        { "dropout", DeviceErrors.InvalidJob },
    };

    [Theory]
    [MemberData(nameof(Refused))]
    public void Job_WithoutWhatTheClaimNeeds_IsRefused(string what, string id)
    {
        DeviceJob job = DeviceScene.Private(9);
        DevicePrivacyOptions p = job.Privacy;
        DssmModelOptions m = job.Model;
        DeviceJob bad = what switch
        {
            "clip" => job with { Privacy = p with { Clip = null } },
            "cap" => job with { Privacy = p with { MaxParticipations = null } },
            "threshold" => job with { Privacy = p with { Threshold = null } },
            "colluders" => job with { Privacy = p with { Colluders = 3 } },
            "active" => job with { Privacy = p with { SecureAggregation = false, Server = FedLearn.Aggregation.ServerTrust.Active } },
            "concat" => job with { Model = m with { Fusion = DssmFusion.Concat } },
            "inbatch" => job with { Model = m with { Loss = DssmLossKind.InBatch } },
            "popularity" => job with { Model = m with { NegativeSource = NegativeSource.Popularity } },
            "bias" => job with { Model = m with { ItemBias = true } },
            "per view sum" => job with { Model = m with { Fusion = DssmFusion.Sum }, Privacy = p with { ClipPerView = true } },
            "dropout" => job with { Model = m with { Dropout = 0.1 } },
            "q" => job with { Training = job.Training with { Participation = double.NaN } },
            "views" => job with { Views = [job.Views[0], job.Views[0]] },
            _ => job with { Privacy = p with { NoiseMultiplier = double.PositiveInfinity } },
        };
        Assert.Equal(id, Assert.ThrowsAny<FedLearnException>(() => new DevicePlan(bad)).Id);
    }
}
