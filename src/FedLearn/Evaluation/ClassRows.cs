namespace FedLearn.Evaluation;

/// <summary>Rows of several classes, prepared for weighing.</summary>
internal sealed class ClassRows
{
    private readonly int _classes, _rows;
    private readonly Ranking?[] _rankings;                       // a class against the rest; null when a probability is NaN
    private readonly double[] _losses, _squares;
    private readonly int[] _cells;                               // label M + predicted class

    /// <param name="probabilities">Class-major, shape [M n].</param>
    /// <param name="labels">Whole numbers 0 to M - 1, shape [n].</param>
    /// <param name="classes">Number of classes M.</param>
    /// <param name="losses">Negative log-likelihoods of the labels, shape [n], where they are known better than by probabilities, which underflow to 0; null for those of the probabilities.</param>
    public ClassRows(ReadOnlySpan<double> probabilities, ReadOnlySpan<double> labels, int classes, double[]? losses = null)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(classes, 2);
        if (probabilities.Length != (long)classes * labels.Length)
            throw new ArgumentException($"{probabilities.Length} probabilities do not fit {labels.Length} labels of {classes} classes.", nameof(labels));
        (_classes, _rows) = (classes, labels.Length);
        _rankings = new Ranking?[classes];
        _losses = new double[_rows];
        _squares = new double[_rows];
        _cells = new int[_rows];
        for (int i = 0; i < _rows; i++)
        {
            if (!(labels[i] >= 0 && labels[i] < classes && labels[i] == Math.Floor(labels[i])))
                throw new ArgumentException($"The label of row {i} is no whole number from 0 to {classes - 1}.", nameof(labels));
            int label = (int)labels[i], predicted = 0;
            for (int m = 0; m < classes; m++)
            {
                double p = probabilities[(m * _rows) + i], error = p - (m == label ? 1 : 0);
                _squares[i] += error * error;
                if (p > probabilities[(predicted * _rows) + i])  // the first of equal ones
                    predicted = m;
            }

            _losses[i] = losses is null ? -Math.Log(probabilities[(label * _rows) + i]) : losses[i];
            _cells[i] = (label * classes) + predicted;
        }

        double[] member = new double[_rows];
        for (int m = 0; m < classes; m++)
        {
            for (int i = 0; i < _rows; i++)
                member[i] = labels[i] == m ? 1 : 0;
            _rankings[m] = Ranking.Of(probabilities.Slice(m * _rows, _rows), member);
        }
    }

    /// <summary>Whether no probability is NaN.</summary>
    public bool Defined => Array.TrueForAll(_rankings, ranking => ranking is not null);

    /// <summary>Figures with every row counted once. NaN in, NaN or null out.</summary>
    public MetricSet Figures()
    {
        if (_rows == 0)
            return new();
        byte[] ones = new byte[_rows];
        Array.Fill(ones, (byte)1);
        double[] figures = new double[Figure.Count];
        Array.Fill(figures, double.NaN);
        Weigh(ones, figures);
        MetricSet all = MetricSet.From(figures);
        return Defined ? all : all with { Auc = null, Accuracy = double.NaN, Precision = null, Recall = null, F1 = null };
    }

    public (ConfusionMatrix Confusion, PerClassFigures[] PerClass) Tables()
    {
        long[] cells = new long[_classes * _classes];
        foreach (int cell in _cells)
            cells[cell]++;
        var confusion = new Confusion(cells, _classes);
        return (confusion.ToMatrix(), confusion.PerClass([.. _rankings.Select(ranking => Metrics.Defined(ranking?.Weigh().Auc))]));
    }

    /// <summary>Figures with every row counted as often as stated.</summary>
    public void Weigh(ReadOnlySpan<byte> counts, Span<double> figures)
    {
        long[] cells = new long[_classes * _classes];
        double losses = 0, squares = 0;
        for (int i = 0; i < counts.Length; i++)
        {
            int count = counts[i];
            losses += count * _losses[i];
            squares += count * _squares[i];
            cells[_cells[i]] += count;
        }

        var confusion = new Confusion(cells, _classes);
        figures[Figure.Auc] = MeanAuc(counts, confusion);
        figures[Figure.Accuracy] = confusion.Accuracy;
        (figures[Figure.Precision], figures[Figure.Recall], figures[Figure.F1]) = confusion.Macro();
        figures[Figure.Brier] = squares / counts.Length;
        figures[Figure.LogLoss] = losses / counts.Length;
        figures[Figure.Deviance] = 2 * losses / counts.Length;
        figures[Figure.D2] = 1 - (losses / counts.Length / Entropy(confusion, counts.Length));
    }

    /// <summary>Mean over the classes that occur and are not alone; NaN without one.</summary>
    private double MeanAuc(ReadOnlySpan<byte> counts, Confusion confusion)
    {
        double sum = 0;
        int defined = 0;
        for (int m = 0; m < _classes; m++)
        {
            double auc = _rankings[m]?.Weigh(counts, confusion.Rows(m)).Auc ?? double.NaN;
            if (double.IsNaN(auc))
                continue;
            sum += auc;
            defined++;
        }

        return sum / defined;
    }

    /// <summary>Log-loss of the class shares; NaN when there is only one class.</summary>
    private double Entropy(Confusion confusion, double rows)
    {
        double sum = 0;
        for (int m = 0; m < _classes; m++)
        {
            long count = confusion.Rows(m);
            sum -= count == 0 ? 0 : count / rows * Math.Log(count / rows);
        }

        return sum > 0 ? sum : double.NaN;
    }
}
