using FedLearn.Dssm;
using FedLearn.Testing;

namespace FedLearn.Tests.Dssm.Loss;

public sealed class ParameterOptimizerTests
{
    [Theory]
    [InlineData(TowerOptimizerKind.Sgd, 0)]
    [InlineData(TowerOptimizerKind.Sgd, 0.1)]
    [InlineData(TowerOptimizerKind.Adam, 0)]
    [InlineData(TowerOptimizerKind.Adam, 0.1)]
    [InlineData(TowerOptimizerKind.Adagrad, 0)]
    [InlineData(TowerOptimizerKind.Adagrad, 0.1)]
    public void Step_ManyTimes_IsThatOfATower(TowerOptimizerKind kind, double decay)
    {
        var options = new TowerOptimizer { Kind = kind, Rate = 0.05, WeightDecay = decay };
        ITower tower = new ReferenceTowerFactory().Create(new TowerSpec { Inputs = new TowerInputs(2, []), Layers = [3], Optimizer = options }, 1);
        var random = new Random(5);
        double[] parameters = new double[tower.ParameterCount], expected = new double[parameters.Length];
        tower.GetParameters(parameters);
        var optimizer = new ParameterOptimizer(options);
        for (int step = 0; step < 50; step++)
        {
            double[] gradient = [.. parameters.Select(_ => random.NextDouble() - 0.3)];
            tower.Step(gradient);
            optimizer.Step(parameters, gradient);
        }

        tower.GetParameters(expected);
        for (int j = 0; j < parameters.Length; j++)
            Assert.Equal(expected[j], parameters[j], 1e-14);
    }

    [Fact]
    public void Step_OtherLength_IsRefused()
    {
        var optimizer = new ParameterOptimizer(new TowerOptimizer());
        optimizer.Step(new double[2], new double[2]);
        Assert.Throws<ArgumentException>(() => optimizer.Step(new double[3], new double[3]));
        Assert.Throws<ArgumentException>(() => optimizer.Step(new double[2], new double[3]));
    }

    [Theory]
    [InlineData(TowerOptimizerKind.Sgd)]
    [InlineData(TowerOptimizerKind.Adam)]
    [InlineData(TowerOptimizerKind.Adagrad)]
    public void Restore_SavedState_GoesOnBitForBit(TowerOptimizerKind kind)
    {
        var options = new TowerOptimizer { Kind = kind, Rate = 0.1, WeightDecay = 0.01 };
        ParameterOptimizer first = new(options), second = new(options);
        double[] parameters = [1, -2, 0.5];
        for (int step = 0; step < 3; step++)
            first.Step(parameters, [0.3, -1, step]);
        double[] copy = [.. parameters];
        second.Restore(first.Save());
        first.Step(parameters, [1, 2, 3]);
        second.Step(copy, [1, 2, 3]);
        Assert.Equal(parameters, copy);
        Assert.Throws<ArgumentException>(() => second.Restore(first.Save().AsSpan(1)));
    }
}
