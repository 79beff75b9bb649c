using System.Diagnostics;
using System.Globalization;
using FedLearn.Diagnostics;
using FedLearn.Dssm;
using FedLearn.Testing;
using FedLearn.Towers.LibTorch;

namespace FedLearn.Towers.Tests;

public sealed class TorchScriptTests : IDisposable
{
    // Debian's, which eng/setup.sh installs; another python3 on the path may lack the package.
    private const string Python = "/usr/bin/python3";

    // The shipped tower with dense inputs, one mean bag and the layers 9 and 4, in TorchScript.
    private const string Source = """
        def start() -> Dict[str, Tensor]:
            return {"dense": torch.rand([3, 9]) - 0.5, "ids": torch.rand([7, 9]) - 0.5, "bias1": torch.rand([9]) - 0.5, "matrix": torch.rand([9, 4]) - 0.5, "bias2": torch.rand([4]) - 0.5}

        def pooled(self, ids: Tensor, offsets: Tensor, weights: Tensor) -> Tensor:
            counts = torch.diff(torch.cat([offsets, torch.tensor([ids.size(0)])]))
            rows = torch.repeat_interleave(torch.arange(offsets.size(0)), counts)
            sums = torch.zeros([offsets.size(0), 9], dtype=self.ids.dtype).index_add(0, rows, self.ids[ids] * weights.unsqueeze(1))
            return sums / counts.clamp(min=1).unsqueeze(1)

        def forward(self, x: Tensor, ids: Tensor, offsets: Tensor, weights: Tensor) -> Tensor:
            h = torch.tanh(x.matmul(self.dense) + self.pooled(ids, offsets, weights) + self.bias1)
            return torch.tanh(h.matmul(self.matrix) + self.bias2)

        """;

    private const string Linear = """
        def start() -> Dict[str, Tensor]:
            return {"matrix": torch.rand([3, 2]) - 0.5}

        def forward(self, x: Tensor) -> Tensor:
            return BODY

        """;

    private readonly DirectoryInfo _folder = Directory.CreateTempSubdirectory("fedlearn-");

    private static TowerSpec Spec(TowerPrecision precision = TowerPrecision.Float64) =>
        new() { Inputs = new(3, [new("ids", 7, BagPooling.Mean)]), Layers = [9, 4], Precision = precision, Optimizer = new() { Rate = 0.01 } };

    private static TowerSpec LinearSpec { get; } = new() { Inputs = new(3, []), Layers = [2], Precision = TowerPrecision.Float64 };

    public void Dispose() => _folder.Delete(recursive: true);

    [Fact]
    public void Fingerprint_OfModules_IsThatOfTheirBytes()
    {
        static string Of(ITowerFactory towers) => Convert.ToHexString(towers.Fingerprint.Span);
        string path = Path.Combine(_folder.FullName, "tower.pt");
        File.WriteAllText(path, Source);
        Assert.Equal(Of(TorchScriptTowers.FromSource(Source)), Of(TorchScriptTowers.FromSource(Source)));
        Assert.Distinct(new[] { Of(TorchScriptTowers.FromSource(Source)), Of(TorchScriptTowers.FromSource(Linear)), Of(TorchScriptTowers.FromFile(path)), Of(new LibTorchTowers()) });
        Assert.Equal("", Of(new LibTorchTowers()));
    }

    [Theory]
    [InlineData(TowerPrecision.Float64, 1e-12)]
    [InlineData(TowerPrecision.Float32, 1e-4)]
    public void FromSource_SameTower_TrainsAsTheReference(TowerPrecision precision, double tolerance)
    {
        Native.Require();
        TowerSpec spec = Spec(precision);
        using ITower tower = TorchScriptTowers.FromSource(Source).Create(spec, 3), reference = new ReferenceTowerFactory().Create(spec, 3);
        Assert.Equal(reference.ParameterCount, tower.ParameterCount);
        reference.SetParameters(Parameters(tower)); // in the same order: dense rows, bag rows, bias, matrix, bias
        TowerRows rows = TowerConformance.RandomRows(spec.Inputs, 20, 1);
        int[] index = [0, 5, -1, 19, 5, 7, 8, -1, 2];
        for (int step = 0; step < 5; step++)
        {
            double[] outputs = Outputs(reference, rows, index, training: true), upstream = [.. outputs.Select((_, i) => Math.Sin(i + step))], norms = new double[index.Length], expectedNorms = new double[index.Length];
            Near(outputs, Outputs(tower, rows, index, training: true), tolerance);
            tower.RowGradientNorms(upstream, norms);
            reference.RowGradientNorms(upstream, expectedNorms);
            Near(expectedNorms, norms, tolerance);
            double[] weights = [.. norms.Select(norm => norm > 0 ? Math.Min(1, 0.5 / Math.Sqrt(norm)) : 1)], sum = new double[tower.ParameterCount], expected = new double[tower.ParameterCount];
            tower.WeightedRowGradients(weights, sum);
            reference.WeightedRowGradients(weights, expected);
            Near(expected, sum, tolerance);
            tower.Backward(upstream);
            reference.Backward(upstream);
            tower.GetGradient(sum);
            reference.GetGradient(expected);
            Near(expected, sum, tolerance);
            tower.Step();
            reference.Step();
            reference.SetParameters(Parameters(tower));
        }

        Assert.Empty(tower.PrivacyFaults());
        Assert.Equal(new double[2 * tower.Width], Outputs(tower, rows, [-1, -1], training: true));
        Assert.Empty(Outputs(tower, rows, [], training: false));
    }

    /// <summary>What a module writes into its inputs is gone with them: each row is evaluated twice, for its norm and for the sum.</summary>
    [Fact]
    public void RowGradients_ModuleThatWritesIntoItsInputs_AreThoseOfTheRows()
    {
        Native.Require();
        using ITower tower = TorchScriptTowers.FromSource(Linear.Replace("BODY", "x.mul_(2.0).matmul(self.matrix)", StringComparison.Ordinal)).Create(LinearSpec, 3);
        TowerRows rows = TowerConformance.RandomRows(LinearSpec.Inputs, 6, 1);
        int[] index = [4, -1, 0, 4];
        double[] upstream = [.. Outputs(tower, rows, index, training: true).Select((_, i) => Math.Sin(i + 1))], norms = new double[index.Length], sum = new double[6], gradient = new double[6];
        tower.RowGradientNorms(upstream, norms);
        tower.WeightedRowGradients([1, 1, 1, 1], sum);
        tower.Backward(upstream);
        tower.GetGradient(gradient);
        Near(gradient, sum, 1e-12);
        double[] expected = [.. Enumerable.Range(0, index.Length).Select(i => index[i] < 0 ? 0 : 4 * Squares(rows.Dense, index[i] * 3, 3) * Squares(upstream, i * 2, 2))];
        Near(expected, norms, 1e-12);
        static double Squares(ReadOnlySpan<double> values, int from, int count)
        {
            double squares = 0;
            foreach (double v in values.Slice(from, count))
                squares += v * v;
            return squares;
        }
    }

    [Fact]
    public void Optimizers_ManySteps_AgreeWithTheReference()
    {
        Native.Require();
        foreach (TowerOptimizerKind kind in Enum.GetValues<TowerOptimizerKind>())
        {
            TowerSpec spec = Spec() with { Optimizer = new() { Kind = kind, Rate = 0.02, WeightDecay = 0.1 } };
            using ITower tower = TorchScriptTowers.FromSource(Source).Create(spec, 3), reference = new ReferenceTowerFactory().Create(spec, 3);
            reference.SetParameters(Parameters(tower));
            for (int step = 0; step < 20; step++)
            {
                double[] gradient = [.. Enumerable.Range(0, tower.ParameterCount).Select(i => Math.Sin(i * 3.7 + step))];
                tower.Step(gradient);
                reference.Step(gradient);
            }

            Near(Parameters(reference), Parameters(tower), 1e-12);
        }
    }

    [Fact]
    public void Create_SameSeed_StartsAlikeAndAnotherDiffers()
    {
        Native.Require();
        TorchScriptTowers towers = TorchScriptTowers.FromSource(Source);
        using ITower one = towers.Create(Spec(), 3), same = towers.Create(Spec(), 3), other = towers.Create(Spec(), 4);
        Assert.Equal(Parameters(one), Parameters(same));
        Assert.NotEqual(Parameters(one), Parameters(other));
    }

    [Fact]
    public void Save_AfterTraining_RestoresAndPyTorchGivesTheSameOutputs()
    {
        Native.Require();
        TowerSpec spec = Spec();
        using ITower tower = TorchScriptTowers.FromSource(Source).Create(spec, 3);
        TowerRows rows = TowerConformance.RandomRows(spec.Inputs, 20, 1);
        int[] all = [.. Enumerable.Range(0, 20)];
        for (int step = 0; step < 3; step++)
        {
            _ = Outputs(tower, rows, all, training: true);
            tower.Backward([.. Enumerable.Range(0, 80).Select(i => Math.Cos(i))]);
            tower.Step();
        }

        byte[] saved = tower.Save();
        double[] outputs = Outputs(tower, rows, all, training: false);
        string path = Path.Combine(_folder.FullName, "tower.pt");
        File.WriteAllBytes(path, saved);
        using (ITower restored = TorchScriptTowers.FromSource(Source).Restore(spec, saved), fromFile = TorchScriptTowers.FromFile(path).Create(spec, 9))
        {
            Assert.Equal(outputs, Outputs(restored, rows, all, training: false));
            Assert.Equal(outputs, Outputs(fromFile, rows, all, training: false));
            Assert.Equal(Parameters(tower), Parameters(fromFile));
        }

        BagRows bag = rows.Bags[0];
        string result = RunPython($"""
            import torch
            module = torch.jit.load('{path}')
            x = torch.tensor({List(rows.Dense)}, dtype=torch.float64).reshape(20, 3)
            y = module(x, torch.tensor({List(bag.Ids)}, dtype=torch.int64), torch.tensor({List(bag.Offsets[..^1])}, dtype=torch.int64), torch.tensor({List(bag.Weights!)}, dtype=torch.float64))
            print(' '.join(repr(v) for v in y.detach().flatten().tolist()))
            """);
        double[] python = [.. result.Split((char[]?)null, StringSplitOptions.RemoveEmptyEntries).Select(v => double.Parse(v, CultureInfo.InvariantCulture))];
        Near(python, outputs, 1e-14);
    }

    [Fact]
    public void FromFile_ModuleOfPyTorch_IsTrainedInPlaceAndLoadsThereAgain()
    {
        Native.Require();
        string path = Path.Combine(_folder.FullName, "own.pt"), trained = Path.Combine(_folder.FullName, "trained.pt");
        RunPython($"""
            import torch
            torch.manual_seed(1)
            torch.jit.script(torch.nn.Sequential(torch.nn.Linear(3, 8), torch.nn.Tanh(), torch.nn.Linear(8, 2))).save('{path}')
            """);
        var spec = new TowerSpec { Inputs = new(3, []), Layers = [2], Optimizer = new() { Kind = TowerOptimizerKind.Adam, Rate = 0.1, WeightDecay = 0.01 } };
        double[] dense = [.. Enumerable.Range(0, 15).Select(i => Math.Sin(i))], upstream = [.. Enumerable.Range(0, 10).Select(i => Math.Cos(i))];
        var rows = new TowerRows(spec.Inputs, 5, dense, []);
        using ITower tower = TorchScriptTowers.FromFile(path).Create(spec, 1);
        for (int step = 0; step < 10; step++)
        {
            _ = Outputs(tower, rows, [0, 1, 2, 3, 4], training: true);
            tower.Backward(upstream);
            tower.Step();
        }

        File.WriteAllBytes(trained, tower.Save());
        // PyTorch's own optimiser from the same start, and the file that we trained.
        string result = RunPython($"""
            import torch
            module = torch.jit.load('{path}')
            x = torch.tensor({List(dense)}).reshape(5, 3)
            optimizer = torch.optim.Adam(module.parameters(), lr=0.1, weight_decay=0.01)
            for step in range(10):
                optimizer.zero_grad()
                module(x).backward(torch.tensor({List(upstream)}).reshape(5, 2))
                optimizer.step()
            ours = torch.jit.load('{trained}')
            print((module(x) - ours(x)).abs().max().item() <= 1e-5, ours.training)
            """);
        Assert.Equal("True False", result.Trim());
    }

    [Fact]
    public void PrivacyFaults_BatchNorm_NamesBuffersAndMixedRows()
    {
        Native.Require();
        string path = Path.Combine(_folder.FullName, "norm.pt");
        RunPython($"""
            import torch
            torch.jit.script(torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.BatchNorm1d(2))).save('{path}')
            """);
        using ITower tower = TorchScriptTowers.FromFile(path).Create(LinearSpec, 1);
        byte[] before = tower.Save();
        IReadOnlyList<string> faults = tower.PrivacyFaults();
        Assert.Contains(faults, fault => fault.Contains("buffer", StringComparison.Ordinal) && fault.Contains("running_mean", StringComparison.Ordinal));
        Assert.Contains(faults, fault => fault.Contains("single row", StringComparison.Ordinal));
        Assert.Equal(before, tower.Save()); // the probe leaves the module as it was
    }

    [Theory]
    [InlineData("torch.dropout(x, 0.5, True).matmul(self.matrix)", "random")]
    [InlineData("(x - x.mean(0)).matmul(self.matrix)", "mixes rows")]
    [InlineData("x.matmul(self.matrix) + 0.001 * x[0].sum()", "mixes rows")]
    [InlineData("x.matmul(self.matrix) * (1.0 + 0.01 * float(x.size(0)))", "mixes rows")]
    public void PrivacyFaults_RowsThatDependOnMore_AreFound(string body, string word)
    {
        Native.Require();
        using ITower tower = TorchScriptTowers.FromSource(Linear.Replace("BODY", body, StringComparison.Ordinal)).Create(LinearSpec, 1);
        Assert.Contains(tower.PrivacyFaults(), fault => fault.Contains(word, StringComparison.Ordinal));
    }

    [Fact]
    public void PrivacyFaults_OrdinaryModule_AreNone()
    {
        Native.Require();
        using ITower tower = TorchScriptTowers.FromSource(Linear.Replace("BODY", "torch.layer_norm(x, [3]).matmul(self.matrix)", StringComparison.Ordinal)).Create(LinearSpec, 1);
        Assert.Empty(tower.PrivacyFaults());
    }

    [Fact]
    public void Forward_ModuleWithDropout_GivesTheSameBitsForTheSameCalls()
    {
        Native.Require();
        TorchScriptTowers towers = TorchScriptTowers.FromSource(Linear.Replace("BODY", "torch.dropout(x.matmul(self.matrix), 0.5, self.training)", StringComparison.Ordinal));
        TowerRows rows = TowerConformance.RandomRows(LinearSpec.Inputs, 20, 1);
        int[] all = [.. Enumerable.Range(0, 20)];
        using ITower one = towers.Create(LinearSpec, 7), same = towers.Create(LinearSpec, 7);
        double[] first = Outputs(one, rows, all, training: true), second = Outputs(one, rows, all, training: true);
        Assert.NotEqual(first, second);
        Assert.Equal(first, Outputs(same, rows, all, training: true));
        Assert.Equal(second, Outputs(same, rows, all, training: true));
        Assert.DoesNotContain(0.0, Outputs(one, rows, all, training: false));
    }

    [Theory]
    [InlineData(TowerPrecision.Float32)]
    [InlineData(TowerPrecision.Float64)]
    public void RestoreTraining_OfAModule_GoesOnBitForBit(TowerPrecision precision)
    {
        Native.Require();
        TowerConformance.ATrainingGoesOnBitForBit(TorchScriptTowers.FromSource(Source), Spec(precision));
        TowerConformance.ATrainingGoesOnBitForBit(TorchScriptTowers.FromSource(Linear.Replace("BODY", "torch.dropout(x.matmul(self.matrix), 0.5, self.training)", StringComparison.Ordinal)),
            LinearSpec with { Precision = precision });
    }

    [Fact]
    public void RestoreTraining_OfAModuleWithBuffers_TakesThemAlong()
    {
        Native.Require();
        string path = Path.Combine(_folder.FullName, "norm.pt");
        RunPython($"""
            import torch
            torch.jit.script(torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.BatchNorm1d(2))).save('{path}')
            """);
        TorchScriptTowers towers = TorchScriptTowers.FromFile(path);
        TowerRows rows = TowerConformance.RandomRows(LinearSpec.Inputs, 20, 1);
        int[] all = [.. Enumerable.Range(0, 20)];
        void Train(ITower tower)
        {
            double[] outputs = Outputs(tower, rows, all, training: true);
            tower.Backward([.. outputs.Select(y => y - 0.5)]);
            tower.Step();
        }

        using ITower first = towers.Create(LinearSpec, 1), second = towers.Create(LinearSpec, 1);
        double[] fresh = Outputs(second, rows, all, training: false);
        Train(first);
        Train(first);
        second.RestoreTraining(first.SaveTraining());
        Assert.NotEqual(fresh, Outputs(second, rows, all, training: false));
        Assert.Equal(Outputs(first, rows, all, training: false), Outputs(second, rows, all, training: false));
        Train(first);
        Train(second);
        Assert.Equal(first.SaveTraining(), second.SaveTraining());
    }

    [Theory]
    [InlineData("x.matmul(self.matrix", LibTorchErrors.ModuleUnreadable)]
    [InlineData("self.absent", LibTorchErrors.ModuleUnreadable)]
    [InlineData("x", LibTorchErrors.ModuleDoesNotFit)]
    [InlineData("x.matmul(self.matrix).sum(1)", LibTorchErrors.ModuleDoesNotFit)]
    [InlineData("x[:, :2].matmul(self.matrix)", LibTorchErrors.ModuleDoesNotFit)]
    public void Create_WrongModule_SaysWhatIsWrong(string body, string id)
    {
        Native.Require();
        var error = Assert.Throws<ConfigurationException>(() => TorchScriptTowers.FromSource(Linear.Replace("BODY", body, StringComparison.Ordinal)).Create(LinearSpec, 1));
        Assert.Equal(id, error.Id);
        Assert.DoesNotContain('\n', error.Message);
    }

    [Fact]
    public void Create_ModuleForMoreColumns_SaysWhatTheInputsAre()
    {
        Native.Require();
        var error = Assert.Throws<ConfigurationException>(() => TorchScriptTowers.FromSource(Linear.Replace("BODY", "x.matmul(torch.zeros([40, 2]))", StringComparison.Ordinal)).Create(LinearSpec, 1));
        Assert.Equal(LibTorchErrors.ModuleDoesNotFit, error.Id);
        Assert.Contains($"{LinearSpec.Inputs.DenseWidth} columns", error.Message, StringComparison.Ordinal);
        // torch's own words for it are the last of a long text.
        Assert.Contains("40", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Create_NoStart_IsRefused()
    {
        Native.Require();
        Assert.Equal(LibTorchErrors.ModuleUnreadable,
            Assert.Throws<ConfigurationException>(() => TorchScriptTowers.FromSource("def forward(self, x: Tensor) -> Tensor:\n    return x\n").Create(LinearSpec, 1)).Id);
    }

    [Fact]
    public void Restore_NoModule_IsRefused()
    {
        Native.Require();
        Assert.Equal(LibTorchErrors.ForeignState, Assert.Throws<BadInputException>(() => TorchScriptTowers.FromSource(Source).Restore(Spec(), new byte[] { 1, 2, 3 })).Id);
    }

    [Fact]
    public void FromFile_Absent_IsRefused() =>
        Assert.Equal(LibTorchErrors.ModuleUnreadable, Assert.Throws<ConfigurationException>(() => TorchScriptTowers.FromFile(Path.Combine(_folder.FullName, "absent.pt"))).Id);

    [Fact]
    public void Forward_ModuleThatFailsOnRows_WithholdsItsText()
    {
        Native.Require();
        const string Body = "self.checked(x)";
        string source = Linear.Replace("BODY", Body, StringComparison.Ordinal)
            .Replace("def forward", "def checked(self, x: Tensor) -> Tensor:\n    assert bool((x <= 2.0).all()), str(float(x.max()))\n    return x.matmul(self.matrix)\n\ndef forward", StringComparison.Ordinal);
        using ITower tower = TorchScriptTowers.FromSource(source).Create(LinearSpec, 1);
        var rows = new TowerRows(LinearSpec.Inputs, 1, [1, 2, 5432.25], []);
        var error = Assert.Throws<InternalFailureException>(() => Outputs(tower, rows, [0], training: true));
        Assert.Equal(LibTorchErrors.ModuleFailed, error.Id);
        Assert.DoesNotContain("5432", error.ToString(), StringComparison.Ordinal);
    }

    [Fact]
    public void Calls_OutOfOrder_AreErrors()
    {
        Native.Require();
        using ITower tower = TorchScriptTowers.FromSource(Source).Create(Spec(), 1);
        Assert.Throws<InvalidOperationException>(() => tower.Backward(new double[4]));
        Assert.Throws<InvalidOperationException>(tower.Step);
        Assert.Throws<InvalidOperationException>(() => tower.RowGradientNorms(new double[4], new double[1]));
    }

    private static double[] Outputs(ITower tower, TowerRows rows, int[] index, bool training)
    {
        double[] outputs = new double[index.Length * tower.Width];
        tower.Forward(rows, index, outputs, training);
        return outputs;
    }

    private static double[] Parameters(ITower tower)
    {
        double[] parameters = new double[tower.ParameterCount];
        tower.GetParameters(parameters);
        return parameters;
    }

    private static void Near(double[] expected, double[] found, double tolerance)
    {
        Assert.Equal(expected.Length, found.Length);
        double scale = expected.Max(Math.Abs), worst = expected.Zip(found, (a, b) => Math.Abs(a - b)).Max();
        Assert.True(worst <= tolerance * scale, $"{worst / scale}");
    }

    private static string List<T>(T[] values) where T : IFormattable => $"[{string.Join(", ", values.Select(value => value.ToString("R", CultureInfo.InvariantCulture)))}]";

    private static string RunPython(string program)
    {
        if (!File.Exists(Python))
            Assert.Skip($"{Python} is absent.");
        using Process process = Process.Start(new ProcessStartInfo(Python, ["-W", "ignore", "-c", program]) { RedirectStandardError = true, RedirectStandardOutput = true })!;
        Task<string> output = process.StandardOutput.ReadToEndAsync(), error = process.StandardError.ReadToEndAsync();
        process.WaitForExit();
        if (error.Result.Contains("No module named 'torch'", StringComparison.Ordinal))
            Assert.Skip($"{Python} cannot import torch; Debian's package python3-torch is absent.");
        Assert.True(process.ExitCode == 0, error.Result);
        return output.Result;
    }
}
